"""One photograph, whatever it is, costs its own row and no more: no crash, no gigabytes, no minutes, no lines."""

import io
import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from photo_files import SCENE, heic, icc, png, tiff, written
from PIL import Image

from twostage.data.contents import digests_of
from twostage.data.images import decode_photograph
from twostage.data.photographs import decode_photographs
from twostage.decoding import limits
from twostage.decoding.boxes import boxes_of
from twostage.decoding.budget import MEMORY, Budget
from twostage.decoding.kinds import SUFFIXES
from twostage.decoding.photo import Photo
from twostage.errors import ImageError, StorageError

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import costly
import mutations


def refused(source, *words):
    with pytest.raises(ImageError) as caught:
        decode_photograph(source, 32)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("kind", ["photographs", "metadata"])
def test_no_change_of_a_file_raises_anything_but_the_package_s_own_errors(kind, capfd):
    found = mutations.measure(kind, 300, seed=1)
    assert found["other_exceptions"] == 0
    assert found["sound_changed"] == 0
    assert found["worst_seconds"] < 5
    assert found["files"] == found["read"] + found["refused"] == 300
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "error", [AttributeError, TypeError, OverflowError, KeyError, RecursionError, SystemError, StopIteration]
)
def test_whatever_pillow_raises_is_one_row_s_refusal(tmp_path, monkeypatch, error):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        mutations.picture(40 + i).save(path)
    whole = Image.Image.getexif
    monkeypatch.setattr(Image.Image, "getexif", lambda self: raised(error) if self.width == 41 else whole(self))
    _, failed = decode_photographs(paths, 32, "crop")
    assert list(failed) == [1]
    assert "cannot be decoded" in failed[1]


def raised(error):
    raise error("odd EXIF")


def test_the_user_s_wish_to_stop_is_none_of_it(tmp_path, monkeypatch):
    mutations.picture().save(tmp_path / "a.png")
    monkeypatch.setattr("twostage.decoding.decoder.Image.open", lambda *_, **__: raised(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        decode_photograph(tmp_path / "a.png", 32)


@pytest.mark.parametrize("boxes", [None, boxes_of([[0, 0, 19, 19]] * 3), boxes_of([[9, 9, 17, 17, 30]] * 3)])
def test_what_fails_after_decoding_is_one_row_s_refusal_too(tmp_path, monkeypatch, boxes):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        mutations.picture(40 + i).save(path)
    whole = Photo.read
    for error in (IndexError, MemoryError):
        with monkeypatch.context() as patched:
            patched.setattr(
                Photo, "read", lambda self, *at, error=error: raised(error) if self.width == 41 else whole(self, *at)
            )
            _, failed = decode_photographs(paths, 32, "crop", boxes=boxes)
            assert list(failed) == [1]
            assert failed[1].count("1.png") == 1
            if error is MemoryError:
                with pytest.raises(StorageError, match="no memory is free"):
                    decode_photographs(paths, 32, "crop", boxes=boxes, kept=True)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size):
    refused(Image.new("RGB", size), "it has no pixels")


def of_kind(format, picture):
    if format == "HEIC":
        pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
        return io.BytesIO(heic(np.asarray(picture)))
    return picture if format == "picture" else io.BytesIO(written(format, picture))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "HEIC", "picture"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 400), (3, 2000)])
def test_too_few_pixels_are_no_photograph(format, size):
    """Enlarged, one pixel would be read as confidently as a whole assay."""
    for width, height in (size, size[::-1]):
        picture = Image.fromarray(SCENE).resize((width, height))
        refused(of_kind(format, picture), f"too small: {width} x {height} pixels; 16 or more are needed on each side")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "HEIC", "picture"])
def test_the_least_that_is_read(format):
    picture = Image.fromarray(SCENE).resize((16, 17))
    assert decode_photograph(of_kind(format, picture), 32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: png(SCENE, (b"iCCP", b"x\0\0" + zlib.compress(bytes(30_000_000)))), "too large"),
        (lambda: png(SCENE, (b"zTXt", b"x\0\0" + zlib.compress(bytes(30_000_000)))), "too large"),
        (lambda: written("JPEG", icc_profile=icc()[:300]), "its ICC profile is damaged; save it as 8-bit sRGB"),
        (lambda: written("PNG", icc_profile=b"x"), "its ICC profile is damaged; save it as 8-bit sRGB"),
        (lambda: tiff(np.dstack([SCENE, SCENE[..., :2]]), planar=2, tag338=(2, 0)), "TIFF RGB, 5 x 8 bits in separate"),
        (lambda: tiff((SCENE[..., 1] + np.uint32(9)), 1), "it holds no number above 255"),
    ],
)
def test_a_refusal_says_what_to_do(content, words):
    refused(content(), words, "save it")


def test_too_little_memory_refuses_the_photograph_now_and_is_not_kept(tmp_path, monkeypatch):
    mutations.picture().save(tmp_path / "a.png")
    monkeypatch.setattr("twostage.decoding.decoder.Image.open", lambda *_, **__: raised(MemoryError))
    _, failed = decode_photographs([tmp_path / "a.png"], 32, "crop")
    assert "more memory than is free" in failed[0]
    with pytest.raises(StorageError, match="no memory is free"):
        decode_photographs([tmp_path / "a.png"], 32, "crop", kept=True)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("from_file", [False, True], ids=["from memory", "from a file"])
def test_the_caller_s_image_stays_as_it_is(tmp_path, format, from_file):
    image = mutations.picture(600)
    buffer = io.BytesIO()
    image.save(buffer, format)
    (tmp_path / "photo").write_bytes(buffer.getvalue())
    expected = decode_photograph(tmp_path / "photo", 32)
    with Image.open(tmp_path / "photo" if from_file else io.BytesIO(buffer.getvalue())) as opened:
        before = opened.size, opened.mode, opened.format
        first, failed = decode_photographs([opened] * 4, 32, "crop")
        assert not failed
        again = decode_photograph(opened, 32)
        assert (opened.size, opened.mode, opened.format) == before
        for pixels in (*first, again):
            np.testing.assert_array_equal(pixels, expected)
        with Image.open(io.BytesIO(buffer.getvalue())) as untouched:
            np.testing.assert_array_equal(np.asarray(opened), np.asarray(untouched))
        np.testing.assert_array_equal(
            decode_photograph(opened, 32), decode_photograph(Image.fromarray(np.asarray(opened.convert("RGB"))), 32)
        )


def test_a_damaged_open_image_is_refused_as_often_as_it_is_read():
    buffer = io.BytesIO()
    mutations.picture(300).save(buffer, "JPEG")
    image = Image.open(io.BytesIO(buffer.getvalue()[: buffer.tell() // 2]))
    for _ in range(3):
        refused(image, "ends before the picture")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jpeg progressive, 3,000 empty scans", "more than 100 scans"),
        ("jpeg, a million segments", "more than 10000 segments"),
        ("gif, a comment of 20 MB", "more than 4096 blocks"),
        ("ppm with 200 levels, 100 megapixels", "takes minutes"),
        ("bmp rle, 100 megapixels", "takes minutes"),
        ("a pipe", "not a file"),
        ("a device", "not a file"),
    ],
)
def test_what_would_take_too_long_or_too_much_is_refused_at_once(tmp_path, name, words):
    costly.files()[name](tmp_path / "x")
    begin = time.perf_counter()
    refused(tmp_path / "x", words)
    assert time.perf_counter() - begin < 5


def test_the_memory_that_decoding_takes_is_known_before(tmp_path, monkeypatch):
    """Strips that are decoded as a whole, turning in memory, coefficients of all scans, canvases of WebP."""
    costly.tiff(tmp_path / "strips", 1000, 1000, 32)
    costly.tiff(tmp_path / "one strip", 1000, 1000, 32, rows=1000)
    costly.tiff(tmp_path / "turned", 1000, 1000, 32, orientation=6)
    image = Image.new("RGB", (1000, 1000))
    image.save(tmp_path / "png", "PNG")
    image.save(tmp_path / "baseline", "JPEG", subsampling=0)
    image.save(tmp_path / "progressive", "JPEG", subsampling=0, progressive=True)
    image.save(tmp_path / "webp", "WEBP")
    monkeypatch.setattr(limits, "BAND", 1000)
    monkeypatch.setattr(limits, "MEMORY", 5_000_000)
    for name in ("strips", "png", "baseline"):
        decode_photograph(tmp_path / name, 32)
    for name in ("one strip", "turned", "progressive", "webp"):
        refused(tmp_path / name, "MB to decode, more than 5 MB; make it smaller or save it as baseline JPEG or PNG")


def test_a_pipe_and_a_device_do_not_stop_reading(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert all("not readable" in digest for digest in digests_of([tmp_path / "pipe", tmp_path / "zero"], 2))


@pytest.mark.slow
def test_four_large_photographs_at_once_stay_below_a_gigabyte(tmp_path):
    costly.tiff(tmp_path / "x.tif", 12000, 12100, 16)
    code = (
        "import re\nfrom pathlib import Path\nfrom twostage.data.photographs import decode_photographs\n"
        f"_, failed = decode_photographs([{str(tmp_path / 'x.tif')!r}] * 4, 32, 'crop', threads=4)\n"
        "print(len(failed), int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    root = Path(limits.__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    failed, peak = map(int, done.stdout.split())
    assert failed == 0
    assert peak < 1000


def test_a_budget_is_never_exceeded_and_a_large_wish_is_met():
    budget, highest, lock = Budget(10), [], threading.Lock()

    def work(units):
        with budget.hold(units):
            with lock:
                highest.append(budget.lent)
            time.sleep(0.001)

    threads = [threading.Thread(target=work, args=(units,)) for units in [1, 9, 4, 10, 3, 99, 2, 5] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(highest) == 32
    assert max(highest) <= 10
    assert budget.lent == 0
    assert MEMORY < 700e6


def test_libtiff_and_pillow_write_nothing_on_the_terminal(tmp_path, capfd):
    for compression in ("tiff_lzw", "jpeg"):
        mutations.picture().save(tmp_path / "a.tif", compression=compression)
        data = bytearray((tmp_path / "a.tif").read_bytes())
        data[40:400] = bytes(range(120, 240)) * 3
        (tmp_path / "a.tif").write_bytes(data)
        refused(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".mpo", ".png", ""])
def test_the_kind_is_told_by_the_content_whatever_the_name(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    mutations.picture().save(tmp_path / f"a{suffix}", "JPEG")
    decode_photograph(tmp_path / f"a{suffix}", 32)
    assert {".jfif", ".jpe", ".mpo"} <= SUFFIXES
    (tmp_path / f"b{suffix}").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    refused(
        tmp_path / f"b{suffix}",
        "pillow-heif, which is not installed: install twostage[heic] or convert it to JPEG",
    )

import json
import multiprocessing
import os
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from twostage.data.photographs import decode_photographs, load_photographs
from twostage.data.store import CHUNK, Rows, open_store
from twostage.errors import StorageError
from twostage.options.data import CsvConfig
from twostage.options.run import ImageConfig, SplitConfig

COUNT, SIZE = CHUNK + 5, 4


class Counting:
    """A source of photographs that counts how many it was asked for."""

    def __init__(self, failed=()):
        self.asked, self.failed = 0, dict(failed)

    def __call__(self, rows):
        self.asked += len(rows)
        pixels = np.stack([np.full((SIZE, SIZE, 3), row % 251, np.uint8) for row in rows])
        return pixels, {row: why for row, why in self.failed.items() if row in rows}


def opened(folder, source, content="a", count=COUNT):
    return open_store(folder, {"of": content}, count, SIZE, source)


def expected(count=COUNT):
    return Counting()(range(count))[0]


def test_a_store_is_made_once_and_mapped_again(tmp_path):
    source = Counting({3: "cut off", COUNT - 1: "no photograph"})
    one, again = opened(tmp_path, source), opened(tmp_path, source)
    assert source.asked == COUNT
    assert one.path == again.path
    assert again.failed == {3: "cut off", COUNT - 1: "no photograph"}
    np.testing.assert_array_equal(again.pixels, expected())
    assert isinstance(again.pixels.base, np.memmap)
    assert not again.pixels.flags.writeable
    np.testing.assert_array_equal(np.load(one.path / "pixels.npy"), expected())  # any numpy reads it


def test_other_content_or_size_is_another_store(tmp_path):
    source = Counting()
    paths = {opened(tmp_path, source).path, opened(tmp_path, source, "b").path, opened(tmp_path, source, count=9).path}
    assert len(paths) == 3
    assert source.asked == 2 * COUNT + 9
    np.testing.assert_array_equal(opened(tmp_path, source, count=9).pixels, expected(9))


def test_nothing_but_the_stores_and_the_lock_is_left(tmp_path):
    path = opened(tmp_path, Counting()).path
    assert {file.name for file in tmp_path.iterdir()} - {".lock"} == {path.name}
    assert {file.name for file in path.iterdir()} == {"pixels.npy", "index.json"}


def damage(path, kind):
    pixels, index = path / "pixels.npy", path / "index.json"
    content = bytearray(pixels.read_bytes())
    if kind == "bit":
        content[-7] ^= 4
        pixels.write_bytes(content)
    elif kind == "header":
        content[20] ^= 1
        pixels.write_bytes(content)
    elif kind.startswith("cut"):
        pixels.write_bytes(content[: int(len(content) * float(kind[3:]))])
    elif kind == "longer":
        pixels.write_bytes(content + b"more")
    elif kind == "no pixels":
        pixels.unlink()
    elif kind == "no index":
        index.unlink()
    elif kind == "index":
        index.write_text(index.read_text()[:-9])
    elif kind == "another index":
        index.write_text(json.dumps([1, 2]))
    elif kind == "empty":
        shutil.rmtree(path)
        path.mkdir()


KINDS = ("bit", "header", "cut0", "cut0.001", "cut0.5", "cut0.999", "longer", "no pixels", "no index", "index")


@pytest.mark.parametrize("kind", [*KINDS, "another index", "empty"])
def test_a_damaged_store_is_made_again(tmp_path, caplog, kind):
    source = Counting()
    damage(opened(tmp_path, source).path, kind)
    again = opened(tmp_path, source)
    assert source.asked == 2 * COUNT
    np.testing.assert_array_equal(again.pixels, expected())
    assert "damaged" in caplog.text
    opened(tmp_path, source)
    assert source.asked == 2 * COUNT


IMPOSSIBLE = ({"-1": "torn"}, {str(COUNT): "torn"}, {"1_0": "torn"}, {" 7": "torn"}, {"7.0": "torn"})


@pytest.mark.parametrize("failed", [*IMPOSSIBLE, {"7": None}, {"7": 3}, {"7": ["torn"]}, ["7"], "7", None])
def test_a_store_that_says_what_cannot_be_is_made_again(tmp_path, failed):
    source = Counting({3: "cut off"})
    index = opened(tmp_path, source).path / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"failed": failed}))  # the checksum fits
    assert opened(tmp_path, source).failed == {3: "cut off"}
    assert source.asked == 2 * COUNT


@pytest.mark.parametrize("dtype", [np.int8, np.bool_, "V1", "S1"])
def test_pixels_of_another_kind_are_decoded_again(tmp_path, dtype):
    source = Counting()
    pixels = opened(tmp_path, source).path / "pixels.npy"
    np.save(pixels, np.load(pixels).view(dtype))  # the same bytes, and so the same checksum
    np.testing.assert_array_equal(opened(tmp_path, source).pixels, expected())
    assert source.asked == 2 * COUNT


def test_pixels_in_another_order_are_decoded_again(tmp_path):
    source = Counting()
    pixels = opened(tmp_path, source).path / "pixels.npy"
    with pixels.open("r+b") as file:
        header = {"descr": "|u1", "fortran_order": True, "shape": (COUNT, SIZE, SIZE, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    np.testing.assert_array_equal(opened(tmp_path, source).pixels, expected())


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    opened(tmp_path, Counting())
    left, old, new = (tmp_path / f".{name}.tmp" for name in ("0123456789", "plans.json.old", "plans.json.new"))
    left.mkdir()
    for file in (left / "pixels.npy", old, new):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    with FileLock(tmp_path / ".lock"):
        opened(tmp_path, Counting())
        assert left.exists()  # another process may be at work there
    opened(tmp_path, Counting())
    assert [path.exists() for path in (left, old, new)] == [False, False, True]  # the new one may be being written


def test_one_that_was_killed_while_this_process_waited_is_no_hindrance(tmp_path, monkeypatch):
    path = opened(tmp_path, Counting()).path
    path.rename(tmp_path / f".{path.name}.tmp")
    monkeypatch.setattr("twostage.data.store._clear_leftovers", lambda folder: None)  # it saw nothing yet
    np.testing.assert_array_equal(opened(tmp_path, Counting()).pixels, expected())
    assert {file.name for file in tmp_path.iterdir()} <= {".lock", path.name}


def test_a_source_that_fails_leaves_nothing(tmp_path):
    def source(rows):
        if rows.start:
            raise KeyboardInterrupt
        return Counting()(rows)

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path, source)
    assert {file.name for file in tmp_path.iterdir()} <= {".lock"}
    np.testing.assert_array_equal(opened(tmp_path, Counting()).pixels, expected())


def test_a_folder_that_cannot_be_written_gets_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"runtime\.cache_dir=.*choose another folder") as error:
        opened(tmp_path / "file" / "cache", Counting())
    assert "\n" not in str(error.value)


def in_processes(work, count, answers):
    """What so many processes put into a queue, that each of them is given."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=work, args=(results,)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(answers)]
    for process in processes:
        process.join()
    return found


def test_a_full_disk_gets_one_line_and_leaves_nothing(tmp_path):
    def fill(results):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # a file cannot grow beyond this
        try:
            opened(tmp_path / "cache", Counting())
        except StorageError as error:
            results.put(str(error))

    (message,) = in_processes(fill, 1, 1)
    assert f"runtime.cache_dir={tmp_path / 'cache'}: cannot be written" in message
    assert "\n" not in message
    assert {file.name for file in (tmp_path / "cache").iterdir()} <= {".lock"}


def test_processes_side_by_side_make_it_once(tmp_path):
    def make(results):
        def source(rows):
            results.put("made")
            return Counting()(rows)

        results.put(int(opened(tmp_path, source, count=CHUNK).pixels.sum()))

    found = in_processes(make, 4, 5)
    assert found.count("made") == 1
    assert {n for n in found if n != "made"} == {int(expected(CHUNK).sum())}


def test_rows_read_what_numpy_would():
    array = np.arange(40).reshape(10, 4)
    chosen = np.array([7, 1, 1, 4])
    rows = Rows(array, chosen)
    assert len(rows) == 4
    np.testing.assert_array_equal(rows[:], array[chosen])
    np.testing.assert_array_equal(rows[1:3], array[chosen][1:3])
    np.testing.assert_array_equal(rows[np.array([3, 0])], array[chosen][[3, 0]])
    np.testing.assert_array_equal(np.stack(list(rows)), array[chosen])


@pytest.fixture
def table(tmp_path):
    for i in range(3):
        Image.new("RGB", (40, 40), (50 * i, 9, 9)).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"no photograph")
    (tmp_path / "t.csv").write_text("image,target\n0.png,1\n1.png,2\n2.png,3\n")
    return tmp_path / "t.csv"


def load(table, size=32, fit="crop"):
    data = CsvConfig(table=str(table), on_error="skip")
    return load_photographs(data, ImageConfig(size=size, fit=fit), SplitConfig(), 0, table.parent / "cache")


def test_the_same_files_elsewhere_are_the_same_store(table, tmp_path):
    one = load(table)
    for name in ("t.csv", "0.png", "1.png", "2.png"):
        (tmp_path / "moved").mkdir(exist_ok=True)
        shutil.move(tmp_path / name, tmp_path / "moved" / name)
    shutil.move(tmp_path / "cache", tmp_path / "moved" / "cache")
    moved = load(tmp_path / "moved" / "t.csv")
    assert moved.store.path.name == one.store.path.name
    assert moved.digests == one.digests
    assert moved.skipped["2.png"] == one.skipped["2.png"].replace(str(tmp_path), str(tmp_path / "moved"))


def test_a_changed_photograph_or_setting_is_another_store(table):
    stores = [load(table).store.path, load(table, size=40).store.path, load(table, fit="stretch").store.path]
    Image.new("RGB", (40, 40), (1, 2, 3)).save(table.parent / "1.png")
    changed = load(table)
    assert len({*stores, changed.store.path}) == 4
    assert changed.pixels[1:2][0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("where", ["twostage.decoding.decoder.Image.open", "twostage.data.contents.open_regular"])
def test_a_failure_that_may_pass_is_not_kept_as_a_broken_photograph(table, monkeypatch, where):
    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(where, fail)
        with pytest.raises(StorageError, match=r"png: cannot be read at the moment \(Too many open files\)") as error:
            load(table)
    assert "\n" not in str(error.value)
    assert "cache_dir" not in str(error.value)
    assert set(load(table).skipped) == {"2.png"}


def test_in_prediction_any_failure_is_a_reason(table, monkeypatch):
    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("twostage.decoding.decoder.Image.open", fail)
    _, failed = decode_photographs([table.parent / "0.png"], 32, "crop")
    assert "Too many open files" in failed[0]


def test_no_more_threads_decode_than_wished_for(table, monkeypatch):
    asked = []
    for module in ("contents", "photographs"):
        monkeypatch.setattr(
            f"twostage.data.{module}.ThreadPoolExecutor",
            lambda most: [asked.append(most), ThreadPoolExecutor(most)][1],
        )
    data = CsvConfig(table=str(table), on_error="skip")
    load_photographs(data, ImageConfig(size=32), SplitConfig(), 0, table.parent / "cache", threads=1)
    assert asked == [1, 1]

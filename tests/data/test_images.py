import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from twostage.data.images import decode_photograph
from twostage.data.photographs import decode_photographs
from twostage.data.simulated import render_photographs
from twostage.decoding import limits
from twostage.decoding.decoder import opened
from twostage.errors import DataError, ImageError

SIZE = 16
COLOR = (200, 50, 100)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# sRGB with its red and its green primary exchanged
SWAPPED = SRGB[:128] + SRGB[128:].replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)


def noise(height=SIZE, width=SIZE, channels=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values if channels > 1 else values[..., 0]


def bands(size, vertical=False):
    """Red, green and blue squares side by side (or one above the other)."""
    array = np.repeat(np.eye(3, dtype=np.uint8)[None] * 255, size, 0).repeat(size, 1)
    return array.transpose(1, 0, 2).copy() if vertical else array


def decode(path, size=SIZE, fit="crop"):
    pixels = decode_photograph(path, size, fit)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (size, size, 3)
    return pixels


def saved(tmp_path, image, name="a.png", **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(tmp_path / name, **options)
    return tmp_path / name


def refused(source, *words):
    with pytest.raises(ImageError) as caught:
        decode_photograph(source, SIZE)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
    return message


def gray_profile():
    """A profile of linear light in one channel, the smallest that is valid."""

    def numbers(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = numbers(0.9642, 1.0, 0.8249)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0)}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    return ((head + bytes(12) + b"acsp").ljust(68, b"\0") + white).ljust(128, b"\0") + table + body


def png_header(width, height):
    """A PNG that claims a size and holds next to nothing."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.ppm", "a.PNG", "a b é.png"])
def test_lossless_formats_keep_every_pixel(tmp_path, name):
    path = saved(tmp_path, noise(), name)
    np.testing.assert_array_equal(decode(path), noise())
    np.testing.assert_array_equal(decode(str(path)), noise())


@pytest.mark.parametrize(
    ("name", "format"), [("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.jpg", "MPO"), ("a.dat", "PNG")]
)
def test_other_formats_keep_a_plain_colour(tmp_path, name, format):
    path = saved(tmp_path, Image.new("RGB", (40, 40), COLOR), name, format=format)
    np.testing.assert_allclose(decode(path), np.broadcast_to(COLOR, (SIZE, SIZE, 3)), atol=4)


def test_an_open_image_equals_its_file(tmp_path):
    path = saved(tmp_path, noise(50, 40))
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode(image), decode(path))
    np.testing.assert_array_equal(decode(Image.fromarray(noise(50, 40))), decode(path))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, noise(), exif=exif)
    np.testing.assert_array_equal(decode(path), upright(noise()))


def test_orientation_comes_before_the_crop(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, bands(SIZE), exif=exif)
    np.testing.assert_array_equal(decode(path, fit="stretch")[[2, -3], 8], [[255, 0, 0], [0, 0, 255]])


def test_transparent_pixels_are_laid_on_white(tmp_path):
    array = np.zeros((SIZE, SIZE, 4), np.uint8)
    array[..., 0] = 200
    array[..., 3] = np.arange(SIZE) * 17
    share = array[..., 3:] / 255.0
    path = saved(tmp_path, array)
    np.testing.assert_allclose(decode(path), share * [200, 0, 0] + (1 - share) * 255, atol=1)


def test_gray_with_transparency_is_laid_on_white(tmp_path):
    array = np.zeros((SIZE, SIZE, 2), np.uint8)
    array[..., 0], array[..., 1] = 100, np.arange(SIZE) * 17
    share = array[..., 1] / 255.0
    pixels = decode(saved(tmp_path, Image.merge("LA", [Image.fromarray(array[..., k].copy()) for k in (0, 1)])))
    for k in range(3):
        np.testing.assert_allclose(pixels[..., k], share * 100 + (1 - share) * 255, atol=1)


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.new("P", (SIZE, SIZE))
    image.putpalette([10, 20, 30, *COLOR])
    image.paste(1, (0, 0, 8, SIZE))
    plain = decode(saved(tmp_path, image, "plain.png"))
    assert plain[3, [0, 15]].tolist() == [list(COLOR), [10, 20, 30]]
    clear = decode(saved(tmp_path, image, "clear.png", transparency=0))
    assert clear[3, [0, 15]].tolist() == [list(COLOR), [255, 255, 255]]


def test_palette_colours_are_averaged_not_their_numbers(tmp_path):
    image = Image.new("P", (2 * SIZE, 2 * SIZE))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.putdata([0, 2] * (2 * SIZE * SIZE))
    np.testing.assert_array_equal(decode(saved(tmp_path, image)), np.broadcast_to([100, 0, 100], (SIZE, SIZE, 3)))


@pytest.mark.parametrize(("mode", "key"), [("RGB", COLOR), ("L", 77)])
def test_a_colour_declared_transparent_is_white(tmp_path, mode, key):
    image = Image.new(mode, (SIZE, SIZE), key)
    image.putpixel((5, 5), 9 if mode == "L" else (9, 9, 9))
    pixels = decode(saved(tmp_path, image, transparency=key))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[5, 5].tolist() == [9, 9, 9]


def test_one_bit_becomes_shades_of_gray(tmp_path):
    array = np.zeros((2 * SIZE, 2 * SIZE), bool)
    array[:, :SIZE] = True
    array[1::2] = False
    path = saved(tmp_path, Image.fromarray(array))
    pixels = decode(path)
    np.testing.assert_allclose(pixels[:, : SIZE // 2], 127.5, atol=1)
    np.testing.assert_array_equal(pixels[:, SIZE // 2 :], 0)


def test_gray_fills_three_channels(tmp_path):
    pixels = decode(saved(tmp_path, noise(channels=1)))
    for k in range(3):
        np.testing.assert_array_equal(pixels[..., k], noise(channels=1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path, name):
    values = np.arange(256).reshape(SIZE, SIZE)
    for low_byte in (0, -100, 100):
        array = np.clip(values * 257 + low_byte, 0, 65535).astype(np.uint16)
        np.testing.assert_array_equal(decode(saved(tmp_path, array, name))[..., 1], values)


def test_thirty_two_bit_gray_within_sixteen_is_scaled(tmp_path):
    values = np.arange(256, dtype=np.int32).reshape(SIZE, SIZE)
    np.testing.assert_array_equal(decode(saved(tmp_path, values * 257, "a.tif"))[..., 0], values)


@pytest.mark.parametrize(
    "array",
    [
        np.full((SIZE, SIZE), 0.5, np.float32),
        np.full((SIZE, SIZE), 70_000, np.int32),
        np.full((SIZE, SIZE), -1, np.int32),
    ],
    ids=["float", "beyond 16 bits", "negative"],
)
def test_pixels_without_a_defined_white_are_refused(tmp_path, array):
    path = saved(tmp_path, array, "a.tif")
    refused(path, path, "no defined white", "8 or 16 bits")


@pytest.mark.parametrize(
    ("ink", "color"),
    [((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0)), ((255, 0, 0, 0), (0, 255, 255))],
    ids=["white", "black", "cyan"],
)
@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk(tmp_path, ink, color, name):
    pixels = decode(saved(tmp_path, Image.new("CMYK", (SIZE, SIZE), ink), name))
    np.testing.assert_allclose(pixels, np.broadcast_to(color, (SIZE, SIZE, 3)), atol=4)


def test_an_srgb_profile_changes_nothing(tmp_path):
    np.testing.assert_allclose(decode(saved(tmp_path, noise(), icc_profile=SRGB)).astype(int), noise(), atol=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_another_profile_is_converted(tmp_path, mode):
    image = Image.new("RGB", (SIZE, SIZE), COLOR)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    pixels = decode(saved(tmp_path, image, icc_profile=SWAPPED))
    np.testing.assert_allclose(pixels, np.broadcast_to([50, 200, 100], (SIZE, SIZE, 3)), atol=2)


# 128 / 255 of linear light is 188 in sRGB
@pytest.mark.parametrize("mode", ["L", "I;16", "LA"])
def test_a_profile_of_gray_is_converted(tmp_path, mode):
    image = Image.new("L", (SIZE, SIZE), 128)
    if mode == "I;16":
        image = Image.fromarray(np.full((SIZE, SIZE), 128 * 257, np.uint16))
    path = saved(tmp_path, image.convert(mode), icc_profile=gray_profile())
    with Image.open(path) as reopened:
        assert reopened.mode == mode
    np.testing.assert_allclose(decode(path), 188, atol=1)


def test_a_profile_for_other_channels_is_ignored(tmp_path):
    path = saved(tmp_path, noise(channels=1), icc_profile=SWAPPED)
    np.testing.assert_array_equal(decode(path)[..., 2], noise(channels=1))


@pytest.mark.parametrize("vertical", [False, True], ids=["wide", "tall"])
def test_crop_keeps_the_middle_and_stretch_keeps_all(tmp_path, vertical):
    path = saved(tmp_path, bands(SIZE, vertical))
    np.testing.assert_array_equal(decode(path, fit="crop"), np.broadcast_to([0, 255, 0], (SIZE, SIZE, 3)))
    along = decode(path, fit="stretch")[:, 0] if vertical else decode(path, fit="stretch")[0]
    assert along[[0, 8, 15]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_shrinking_averages_areas(tmp_path, fit):
    array = noise(4 * SIZE, 4 * SIZE)
    mean = array.reshape(SIZE, 4, SIZE, 4, 3).mean((1, 3))
    np.testing.assert_allclose(decode(saved(tmp_path, array), fit=fit), mean, atol=1)


@pytest.mark.parametrize("shape", [(17, 17), (16, 16), (16, 200), (200, 17)], ids=str)
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_small_and_thin_photographs_are_enlarged(tmp_path, shape, fit):
    array = np.full((*shape, 3), COLOR, np.uint8)
    np.testing.assert_array_equal(decode(saved(tmp_path, array), fit=fit), np.broadcast_to(COLOR, (SIZE, SIZE, 3)))


def test_first_frame_of_an_animation_and_of_a_stack(tmp_path):
    frames = [Image.new("RGB", (SIZE, SIZE), color) for color in ((255, 0, 0), (0, 0, 255))]
    for name in ("a.gif", "a.tif"):
        path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        with Image.open(path) as image:
            assert image.n_frames == 2
        np.testing.assert_array_equal(decode(path), np.broadcast_to([255, 0, 0], (SIZE, SIZE, 3)))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, name, share):
    path = saved(tmp_path, noise(64, 64), name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, path)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_truncated_open_image_is_refused_too(format):
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(buffer, format)
    refused(Image.open(io.BytesIO(buffer.getvalue()[: buffer.tell() // 2])))


def test_no_photograph_at_all(tmp_path):
    for content in (b"", b"image,target\na.png,1\n", bytes(1000), b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "a.png").write_bytes(content)
        refused(tmp_path / "a.png", tmp_path / "a.png")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    refused(tmp_path / "a.heic", "a.heic: HEIC")
    refused(saved(tmp_path, noise(), "a.ico"), "ICO: convert it to JPEG or PNG")


def test_missing_files_and_folders_are_refused(tmp_path):
    refused(tmp_path / "no.png", "no.png", "no such photograph")
    refused(tmp_path)
    refused("x" * 300 + ".png")
    assert issubclass(ImageError, DataError)


def test_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, noise(40, 30))
    monkeypatch.setattr(limits, "MAX_PIXELS", 1200)
    decode(path)
    monkeypatch.setattr(limits, "MAX_PIXELS", 1199)
    refused(path, path, "30x40", "million pixels", "make it smaller")
    refused(Image.new("RGB", (30, 40)), "million pixels")


# Both sides of the limit at which Pillow itself refuses; decoding either would take half a gigabyte and more.
@pytest.mark.parametrize(("width", "height"), [(15_000, 11_000), (40_000, 40_000)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path, width, height):
    (tmp_path / "bomb.png").write_bytes(png_header(width, height))
    refused(tmp_path / "bomb.png", "bomb.png", "more than 150 million pixels")


def test_many_are_decoded_in_order_and_failures_are_told_by_position(tmp_path):
    sources = [saved(tmp_path, Image.new("RGB", (20 + i, 30), (i, 2 * i, 3 * i)), f"{i}.png") for i in range(40)]
    sources[7] = tmp_path / "no.png"
    sources[31].write_bytes(b"broken")
    pixels, failed = decode_photographs(sources, SIZE, "crop")
    assert pixels.shape == (40, SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8
    assert list(failed) == [7, 31]
    assert "no.png" in failed[7]
    assert "31.png" in failed[31]
    for i in range(40):
        expected = [0, 0, 0] if i in failed else [i, 2 * i, 3 * i]
        np.testing.assert_array_equal(pixels[i], np.broadcast_to(expected, (SIZE, SIZE, 3)))


def test_open_images_may_be_decoded_together_too():
    whole = [Image.new("RGB", (20, 20), COLOR), Image.new("F", (20, 20)), Image.new("L", (20, 20), 9)]
    pixels, failed = decode_photographs(whole, SIZE, "crop")
    assert list(failed) == [1]
    assert pixels[:, 0, 0].tolist() == [list(COLOR), [0, 0, 0], [9, 9, 9]]
    assert decode_photographs([], SIZE, "crop")[0].shape == (0, SIZE, SIZE, 3)


@pytest.mark.parametrize("quality", [80, 95])
@pytest.mark.parametrize(("side", "size", "scale"), [(1024, 64, 4), (1024, 128, 2), (400, 64, 1), (4000, 64, 4)])
def test_a_large_jpeg_is_decoded_at_a_reduced_scale_and_loses_nothing(tmp_path, side, size, scale, quality):
    assay = render_photographs(np.array([200.0]), 250, 1)[0]
    Image.fromarray(assay).resize((side, side), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=quality)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = decode_photograph(Image.fromarray(np.asarray(image)), size).astype(float)
    with opened(tmp_path / "a.jpg", size) as photo:
        assert photo.scale == scale
        assert photo.image.size == (side // scale, side // scale)
    difference = decode_photograph(tmp_path / "a.jpg", size) - whole
    assert np.sqrt((difference**2).mean()) < 0.5
    assert np.abs(difference.mean((0, 1))).max() < 0.1
    assert np.abs(difference).max() <= 2

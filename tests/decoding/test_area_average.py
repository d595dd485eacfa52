"""Bringing a photograph to size is one exact average: unbiased at every size, and a turned one is exactly turned."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from twostage.data.images import decode_photograph
from twostage.data.simulated import render_photographs
from twostage.decoding.area import to_square

SIZE = 64
SIDES = [64, 128, 192, 250, 256, 257, 300, 320, 384, 1000]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shares(length, size):
    """The exact share of each pixel in each output, (size,length) in float64."""
    edges = [Fraction(j * length, size) for j in range(size + 1)]
    table = np.zeros((size, length))
    for j in range(size):
        for x in range(int(edges[j]), min(length, int(edges[j + 1]) + 1)):
            table[j, x] = max(0, min(edges[j + 1], x + 1) - max(edges[j], x)) * Fraction(size, length)
    return table


def shrunk(array, size=SIZE, fit="crop"):
    return decode_photograph(Image.fromarray(array), size, fit)


@pytest.mark.parametrize("side", SIDES)
def test_the_result_is_the_exact_average_and_no_level_is_favoured(side):
    difference = []
    for seed in range(4):
        array = noise(side, side, seed) // (1 + seed % 2) + seed
        exact = np.einsum("iy,jx,yxc->ijc", shares(side, SIZE), shares(side, SIZE), array.astype(float), optimize=True)
        difference.append(shrunk(array) - exact)
    assert np.abs(difference).max() <= 0.5 + 1e-9
    assert abs(np.mean(difference)) < 0.02


@pytest.mark.parametrize("side", SIDES)
def test_a_photograph_half_way_between_two_levels_is_not_made_brighter(side):
    rows = np.arange(side) % 2
    array = np.broadcast_to((100 + (rows[:, None] + rows) % 2)[..., None], (side, side, 3)).astype(np.uint8)
    assert shrunk(np.concatenate([array, 201 - array]), fit="stretch").mean() == pytest.approx(100.5, abs=0.51)
    assay = render_photographs(np.array([200.0]), side, 1)[0]
    assert np.abs(shrunk(assay).mean((0, 1)) - assay.mean((0, 1))).max() < 0.02


TURNS = {f"turn {k}{', flip' if flip else ''}": (k, flip) for k in range(4) for flip in (False, True)}


def turned(array, k, flip):
    return np.ascontiguousarray(np.rot90(array[:, ::-1] if flip else array, k))


@pytest.mark.parametrize("name", list(TURNS)[1:])
@pytest.mark.parametrize(
    "shape", [(250, 250), (257, 301), (300, 131), (64, 64), (20, 20), (33, 50), (16, 23), (63, 200)]
)
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_turned_photograph_gives_the_turned_result_bit_for_bit(name, shape, fit):
    array = noise(*shape)
    np.testing.assert_array_equal(
        shrunk(turned(array, *TURNS[name]), fit=fit), turned(shrunk(array, fit=fit), *TURNS[name])
    )


@pytest.mark.parametrize("shape", [(120, 160), (96, 288), (16, 64), (77, 131), (64, 65), (40, 300), (17, 1000)])
@pytest.mark.parametrize("size", [32, 64])
def test_padding_keeps_the_whole_photograph_in_proportion(shape, size):
    """The square is that of the photograph on a plain ground, as far as the photograph reaches."""
    array, beyond = noise(*shape), shape[1] - shape[0]
    square = np.pad(array.repeat(2, 0).repeat(2, 1), ((beyond, beyond), (0, 0), (0, 0)))
    edge = -(-size * beyond // (2 * shape[1])) + 2 * (shape[1] < size)  # whole pixels, and what is interpolated
    if size > 2 * edge:
        inside = slice(edge, size - edge)
        np.testing.assert_array_equal(shrunk(array, size, "pad")[inside], shrunk(square, size)[inside])


def test_of_a_square_photograph_nothing_is_padded():
    for side in (17, 64, 131, 250):
        np.testing.assert_array_equal(shrunk(noise(side, side), fit="pad"), shrunk(noise(side, side)))


@pytest.mark.parametrize("shape", [(23, 31), (16, 60), (17, 30), (300, 400), (16, 2000), (999, 333)])
def test_padding_leaves_a_plain_colour_as_it_is(shape):
    assert (shrunk(np.full((*shape, 3), 77, np.uint8), fit="pad") == 77).all()


def test_padding_with_edges_repeats_the_average_of_the_outermost_strip():
    array = noise(160, 320)
    array[:10], array[-10:] = (array[:10] // 8) * 2, 255 - array[-10:] // 8
    square = shrunk(array, 32, "pad")
    for side, strip in ((square[:8], array[:10]), (square[-8:], array[-10:])):
        exact = strip.reshape(10, 32, 10, 3).mean((0, 2))
        assert np.abs(side - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16"])
def test_so_it_does_in_every_mode(mode):
    array = np.random.default_rng(0).integers(0, 65536, (131, 131), dtype=np.uint16)
    image = Image.fromarray(array) if mode == "I;16" else Image.fromarray(noise(131, 131)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray((array >> 8).astype(np.uint8)))
    flat = decode_photograph(image, SIZE)
    np.testing.assert_array_equal(decode_photograph(image.transpose(Image.Transpose.ROTATE_90), SIZE), np.rot90(flat))


def test_sixteen_bits_are_kept_until_the_end():
    array = np.random.default_rng(0).integers(0, 65536, (256, 256), dtype=np.uint16)
    exact = array.reshape(64, 4, 64, 4).mean((1, 3)) / 257
    difference = decode_photograph(Image.fromarray(array), SIZE)[..., 0] - exact
    assert np.abs(difference).max() <= 0.5 + 1e-9
    assert abs(difference.mean()) < 0.02


def test_enlarging_keeps_a_plain_colour_and_is_smooth():
    assert (shrunk(np.full((23, 23, 3), 77, np.uint8)) == 77).all()
    ramp = np.broadcast_to(np.arange(0, 240, 10)[None, :, None], (24, 24, 3)).astype(np.uint8)
    steps = np.diff(shrunk(ramp)[8:-8, 8:-8].astype(int), axis=1)
    assert steps.min() >= 2
    assert steps.max() <= 5


@pytest.mark.parametrize("side", [(1000, 1000), (1001, 1203), (750, 1337)])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_decoding_a_jpeg_at_a_reduced_scale_does_not_shift_the_colour(side, fit):
    """The reduced pixels at the right and lower edge lie over it; they count as far as they do not."""
    difference = []
    for seed in range(3):
        assay = render_photographs(np.array([100.0 + 80 * seed]), 250, seed)[0]
        buffer = io.BytesIO()
        Image.fromarray(assay).resize(side, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
        with Image.open(buffer) as image:
            whole = Image.fromarray(np.asarray(image))
        with Image.open(buffer) as image:
            difference.append(decode_photograph(image, SIZE, fit) - decode_photograph(whole, SIZE, fit).astype(float))
    assert np.abs(np.mean(difference, (0, 1, 2))).max() < 0.03
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("cuts", [1, 7, 100])
def test_reading_in_bands_changes_nothing(monkeypatch, cuts, fit):
    array, asked = noise(300, 310), []

    def read(top, bottom, left, right):
        asked.append((bottom - top) * (right - left))
        return array[top:bottom, left:right], 255

    whole = to_square(read, 310, 300, 32, fit)
    assert len(asked) == 1
    monkeypatch.setattr("twostage.decoding.area.BAND", 310 * 300 // cuts // 10)
    np.testing.assert_array_equal(to_square(read, 310, 300, 32, fit), whole)
    assert max(asked[1:]) <= max(310 * 300 // cuts // 10, 300 * 11)

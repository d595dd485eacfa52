"""What moves a reading: cases whose answer is known, every kind of model, and every mistake in one line."""

import functools

import numpy as np
import pytest
import torch
from helpers import QUIET
from PIL import Image

from twostage import Bins, Predictor, load_config
from twostage.data.simulated import render_photographs
from twostage.errors import ConfigError, DataError, StorageError
from twostage.model_folder import TrainedModel
from twostage.options.choices import METHODS
from twostage.stages.build import build_stage
from twostage.stages.reading import Reading
from twostage.stages.two_stage import TwoStage
from twostage.trust.explanation import covered, explain, squares
from twostage.trust.prediction import predict

SIZE = 32


@functools.cache
def model(*options):
    """An untrained one, which gives some number."""
    config = load_config([f"image.size={SIZE}", "combine.views=1", *options])
    bins = Bins.uniform(80, 350, 1 if config.method == "direct" else 3)
    built = {name: build_stage(name, config, bins) for name in METHODS[config.method]}
    network = TwoStage(bins, built.get("classifier"), built.get("regressor"), config.image.color)
    return Predictor(TrainedModel(network.eval(), bins, config, {}))


NOTHING = np.zeros((1, SIZE, SIZE, 3), np.uint8), Reading(np.ones((1, 3)) / 3, np.zeros((1, 3)), np.zeros((1, 3)))


def photograph(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


CORNER = np.zeros((SIZE, SIZE), bool)
CORNER[: SIZE // 2, : SIZE // 2] = True
AXIS = (np.arange(SIZE) + 0.5) / SIZE - 0.5
WELL = np.hypot(AXIS, AXIS[:, None]) < QUIET.radius


def reads(region):
    """A reader of the mean blue of a region, and of nothing else."""

    def read(pixels):
        bins, places = Bins.uniform(80, 350, 3), 80 + 270 * pixels[:, region, 2].mean(1) / 255
        said = Reading(bins.soft_targets(places, 0.25), bins.offsets(places), np.zeros((len(pixels), 3)), places)
        return predict(bins, pixels, said, "mixture")

    return read


@pytest.mark.parametrize("detail", [1, 3, 8, 32])
def test_squares_cover_every_pixel_once(detail):
    times = np.zeros((SIZE, SIZE), int)
    for place in squares(SIZE, detail):
        times[place] += 1
    assert (times == 1).all()
    assert len(squares(SIZE, detail)) == detail**2


def test_only_the_square_changes_and_the_photograph_stays():
    one = photograph()
    kept = one.copy()
    for other, place in zip(covered(one, 4), squares(SIZE, 4), strict=True):
        differs = (other != one).any(2)
        assert differs[place].any()
        differs[place] = False
        assert not differs.any()
        assert np.ptp(other[place].reshape(-1, 3), 0).max() == 0
    assert np.array_equal(one, kept)


@pytest.mark.parametrize("region", [CORNER, WELL], ids=["corner", "well"])
def test_a_reading_of_one_region_is_moved_by_this_region_alone_and_by_as_much_as_it_moves(region):
    one, detail = render_photographs(np.array([200.0]), SIZE, 1, assay=QUIET)[0], 8
    found = explain(one, None, reads(region)(one[None]), reads(region), detail)
    inside = np.array([region[place].sum() for place in squares(SIZE, detail)])
    blue = np.array([(one[place][..., 2] * region[place]).sum() for place in squares(SIZE, detail)])
    expected = 270 / 255 * (np.median(one[..., 2]) * inside - blue) / region.sum()
    assert (inside == 0).any()
    for moved in (found.concentration, found.estimate):
        np.testing.assert_allclose(moved.ravel(), expected, atol=1e-9)
    assert np.abs(expected).max() > 1
    assert not found.probability.ravel()[inside == 0].any()


def test_a_network_that_reads_a_corner_is_moved_by_this_corner_alone():
    small = ["backbone.widths=[8,8]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]"]
    predictor = model("method=direct", "pooling=flatten", *small)
    readout = predictor.model.network.regressor.network.readout
    far = torch.ones(8, SIZE // 4, SIZE // 4, dtype=torch.bool)
    far[:, : SIZE // 8, : SIZE // 8] = False  # where a filter reaches no pixel beyond the corner
    with torch.no_grad():
        readout.weight.copy_(torch.randn(far.numel(), generator=torch.Generator().manual_seed(0)) * ~far.flatten())
    moved = np.abs(predictor.explain(photograph(), detail=4).concentration)
    assert moved[:2, :2].min() > 1e-3
    moved[:2, :2] = 0
    assert moved.max() < 1e-4


@pytest.mark.parametrize(
    ("options", "maps"),
    [
        ([], 2),
        (["method=direct"], 1),
        (["method=classifier"], 2),
        (["method=classifier", "classifier.encoding=soft_bins"], 2),
        (["method=classifier", "classifier.encoding=codes"], 2),
        (["pooling=mean"], 2),
        (["pooling=flatten"], 2),
        (["pooling=surfaces"], 2),
    ],
)
def test_every_kind_of_model_is_explained(options, maps):
    found = model(*options).explain(photograph(), detail=3)
    assert len(found._maps()) == maps
    assert (found.masks is None) == any(option in options for option in ("pooling=mean", "pooling=flatten"))
    assert len(found.plot().axes) == 1 + 2 * maps  # each with its scale


def test_the_picture_has_pixels(drawn):
    picture = model().explain(photograph(), detail=3).picture()
    assert picture.dtype == np.uint8
    assert picture.std() > 10


def test_a_photograph_may_come_in_every_way_and_as_a_box_of_another(here):
    predictor, pixels = model("method=direct"), photograph()
    Image.fromarray(pixels).save("a.png")
    large = np.zeros((64, 64, 3), np.uint8)
    large[10 : 10 + SIZE, 20 : 20 + SIZE] = pixels
    with open("a.png", "rb") as file:
        for one in ("a.png", here / "a.png", (here / "a.png").read_bytes(), file, Image.fromarray(pixels), pixels):
            assert np.array_equal(predictor.explain(one, detail=1).photograph, pixels)
    assert np.array_equal(predictor.explain(large, box=(20, 10, SIZE, SIZE), detail=1).photograph, pixels)
    assert predictor.explain(pixels[..., 0], detail=1).photograph.shape == pixels.shape


@pytest.mark.parametrize("several", [["a.png"], (), np.zeros((2, SIZE, SIZE, 3), np.uint8), {"a": 1}, None, 5, str])
def test_one_photograph_is_explained_at_a_time(several):
    with pytest.raises(ConfigError, match="explain takes one photograph") as error:
        model("method=direct").explain(several)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("detail", [0, -1, SIZE + 1])
def test_squares_are_between_one_and_a_pixel(detail):
    with pytest.raises(ConfigError, match=f"detail={detail} is none: .* 1 to {SIZE}"):
        model("method=direct").explain(photograph(), detail=detail)


def test_a_photograph_that_cannot_be_decoded_is_one_line(here):
    (here / "broken.jpg").write_bytes(b"no photograph")
    for name in ("broken.jpg", "missing.jpg"):
        with pytest.raises(DataError, match=name) as error:
            model("method=direct").explain(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["png", "PDF", "svg"])
def test_the_picture_is_written(kind, here, drawn):
    model("method=direct").explain(photograph(), detail=2).save(f"a.{kind}")
    assert (here / f"a.{kind}").stat().st_size > 1000


def test_where_a_picture_cannot_be_written_one_line_says_so(here):
    found = model("method=direct").explain(photograph(), detail=2)
    with pytest.raises(ConfigError, match=r"a\.gif: a picture ends in \.png or \.pdf or \.svg"):
        found.save("a.gif")
    (here / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        found.save("file/a.png")


def test_a_refused_photograph_has_no_maps_and_its_reason_stands_in_the_picture(drawn):
    refused = predict(Bins.uniform(80, 350, 3), *NOTHING, "mixture", failed={0: "it is black"})
    found = explain(photograph(), None, refused, reads(CORNER), 4)
    assert found.concentration is found.estimate is found.probability is None
    assert refused.in_words(0) == ["refused: it is black"]
    assert found.plot().get_suptitle() == "refused: it is black"
    assert len(found.plot().axes) == 1

import json

import numpy as np
import pytest
from PIL import Image

from twostage.data.simulated import render_photographs, sample_targets
from twostage.trust.typicality import Typicality, described


def assay(count, seed, size=32):
    return np.array(list(render_photographs(sample_targets(count, 80, 350, "uniform", seed), size, seed)))


@pytest.fixture(scope="module")
def learned():
    return Typicality.fit(assay(600, 0), np.arange(600), 0.01)


def test_turned_and_mirrored_photographs_are_described_alike():
    some = assay(5, 1)
    for other in (np.rot90(some, 1, (1, 2)), some[:, ::-1], some[:, :, ::-1]):
        np.testing.assert_allclose(described(np.ascontiguousarray(other)), described(some), atol=1e-5)


def test_as_many_of_the_right_kind_are_called_unlike_as_was_allowed(learned):
    typicality, left_out = learned
    assert (left_out > typicality.threshold).mean() == pytest.approx(0.01, abs=0.005)
    assert (typicality.distance(assay(1500, 2)) > typicality.threshold).mean() < 0.03


def foreign(size=32):
    rng = np.random.default_rng(0)
    some = assay(8, 3, size)
    yield "noise", rng.integers(0, 256, (8, size, size, 3))
    yield "flat colours", np.broadcast_to(rng.integers(0, 256, (8, 1, 1, 3)), (8, size, size, 3))
    yield "inverted", 255 - some
    yield "other channels", some[..., ::-1]
    yield "black", np.zeros_like(some)
    yield "half covered", np.concatenate([some[:, : size // 2], np.full_like(some[:, size // 2 :], 30)], 1)
    yield "small", np.array([np.pad(_shrunk(one, 16), ((8, 8), (8, 8), (0, 0)), mode="edge") for one in some])


def _shrunk(one, side):
    return np.asarray(Image.fromarray(one).resize((side, side)))


@pytest.mark.parametrize(("name", "pixels"), foreign(), ids=[name for name, _ in foreign()])
def test_foreign_photographs_are_unlike(learned, name, pixels):
    typicality, _ = learned
    assert (typicality.distance(pixels.astype(np.uint8)) > typicality.threshold).all()


@pytest.mark.parametrize("specimens", [1, 2, 3, 29])
def test_few_specimens_give_a_threshold_where_there_can_be_one(specimens):
    some = assay(58, 4)
    typicality, left_out = Typicality.fit(some, np.arange(58) % specimens, 0.01)
    assert np.isfinite(typicality.threshold) == (specimens > 1)
    assert np.isfinite(left_out).all()
    if specimens == 29:
        assert (left_out > typicality.threshold).mean() < 0.07


def test_photographs_that_are_all_the_same_are_no_trouble():
    typicality, _ = Typicality.fit(np.full((6, 32, 32, 3), 200, np.uint8), np.arange(6), 0.01)
    same, other = np.full((1, 32, 32, 3), 200, np.uint8), np.full((1, 32, 32, 3), 90, np.uint8)
    assert typicality.distance(same) <= typicality.threshold
    assert typicality.distance(other) > typicality.threshold


def test_it_is_the_same_after_json(learned):
    typicality, _ = learned
    again = Typicality.from_json(json.loads(json.dumps(typicality.to_json())))
    some = assay(20, 5)
    np.testing.assert_allclose(again.distance(some), typicality.distance(some), atol=1e-4)
    with pytest.raises(ValueError, match="belong together"):
        Typicality.from_json({**typicality.to_json(), "precision": [1.0]})


def test_no_photographs_have_no_distance(learned):
    assert learned[0].distance(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0,)

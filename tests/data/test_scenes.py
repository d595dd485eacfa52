"""Random scenes: each is itself whatever is drawn beside it, and what is known of it is true."""

import numpy as np
import pytest
from helpers import TINY

from twostage.data.camera import Camera, photograph_scenes, scene_targets
from twostage.data.scenes import Spreads, draw_scene

CALM = Spreads(glare_spots=0, bubbles=0, shadow=0, gradient_sd=0, meniscus_sd=0, blotches=0, rim=0)
LAYOUTS = [name for name, _ in Spreads().layouts]


def only(layout, **more):
    return Spreads(**{**vars(CALM), "layouts": ((layout, 1.0),), **more})


def test_a_scene_depends_on_seed_and_number_alone():
    many, one = photograph_scenes(range(6), 32, seed=3, cells=8), photograph_scenes(range(4, 5), 32, seed=3, cells=8)
    for all_of_them, alone in zip(vars(many).values(), vars(one).values(), strict=True):
        np.testing.assert_array_equal(all_of_them[4], alone[0])
    assert scene_targets(range(4, 5), 3) == scene_targets(range(6), 3)[4]
    other = photograph_scenes(range(4, 5), 32, seed=4).pixels
    assert (other != one.pixels).any()


def test_no_two_scenes_are_alike_and_none_is_empty():
    pixels = photograph_scenes(range(40), 32, seed=0).pixels.astype(float)
    assert len(np.unique(pixels.reshape(40, -1), axis=0)) == 40
    assert pixels.std((1, 2)).max(1).min() > 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_known_of_each_pixel_is_true(layout):
    """Where the maps say zone, there is the blank's light less the density; elsewhere there is none of it."""
    blank = {"blank": (0.9, 0.9), "tint_sd": 0.0, "second_absorber": 0.0}
    for seed in range(12):
        drawn = draw_scene(np.random.default_rng(seed), 64, 0.8, only(layout, **blank))
        inside = drawn.zones > 0.9999
        density = -np.log10(drawn.light[inside] / 0.9)
        np.testing.assert_allclose(density.mean(1), 0.8, atol=0.02)
        assert drawn.zones.min() >= 0
        assert (drawn.zones + drawn.support).max() < 1.01


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_denser_reagent_is_darker_and_nothing_else_changes(layout):
    pale, dense = (draw_scene(np.random.default_rng(5), 48, d, only(layout)) for d in (0.1, 0.9))
    np.testing.assert_array_equal(pale.zones, dense.zones)
    np.testing.assert_allclose(pale.light[pale.zones < 1e-6], dense.light[pale.zones < 1e-6], atol=1e-4)
    assert (dense.light[pale.zones > 0.9] < pale.light[pale.zones > 0.9]).all()


def test_a_zone_that_stands_alone_has_nothing_around_it():
    drawn = draw_scene(np.random.default_rng(1), 64, 0.5, only("alone"))
    assert not drawn.support.any()
    assert drawn.light[drawn.zones < 1e-6].max() < 0.1


def test_glare_belongs_to_no_zone():
    spots = only("zone", glare_spots=30, glare_height=(0.5, 0.5), glare_width=(0.05, 0.05))
    with_glare, without = (draw_scene(np.random.default_rng(2), 64, 0.5, s) for s in (spots, only("zone")))
    assert with_glare.zones.sum() < 0.8 * without.zones.sum()


def test_relative_densities_are_those_of_the_law():
    """Zone and card of one photograph differ by the reagent and the blank, whatever the exposure."""
    scenes = photograph_scenes(range(60), 32, seed=1)
    known = np.isfinite(scenes.densities).all(1)
    assert 0.5 < known.mean() < 0.95  # those alone have no surroundings
    expected = scene_targets(range(60), 1)[known] / 100
    assert np.corrcoef(scenes.densities[known].mean(1), expected)[0, 1] > 0.7


def test_cameras_differ():
    light = np.full((64, 64, 3), 0.4, np.float32)
    photos = [Camera().photograph(np.random.default_rng(seed), light).astype(float) for seed in range(30)]
    levels, noise = np.array([p.mean() for p in photos]), np.array([p.std((0, 1)).mean() for p in photos])
    assert levels.std() > 5
    assert noise.max() > 3 * noise.min()


def test_scenes_are_a_data_source(here, once):
    status, out, _ = once("train", "data=scenes", "data.count=60", *TINY[1:], "run=scenes")
    assert status == 0, out
    assert "Test set" in out

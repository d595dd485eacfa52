from collections import Counter

import numpy as np
import pytest
import torch

from twostage import load_config
from twostage.data.augment import augment, augmented, dihedral_views, exposures, moves_color
from twostage.data.color import to_color
from twostage.options.run import AugmentConfig

TURNS = [lambda a, k=k: np.rot90(a, k, (-2, -1)) for k in range(4)]
FLIPS = [lambda a: a, lambda a: a[..., ::-1], lambda a: a[..., ::-1, :], lambda a: a[..., ::-1, ::-1]]
MIRRORS = [lambda a, k=k: np.rot90(a, k, (-2, -1))[..., ::-1] for k in range(4)]


def options(**changed):
    return AugmentConfig(**{"quarter_turns": False, "flips": False, **changed})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def run(images, seed=0, **changed):
    return augment(images, options(**changed), generator(seed))


def asymmetric(count=1, size=6):
    return torch.rand(1, 3, size, size, generator=generator(9)).expand(count, -1, -1, -1).clone()


def spot(x, y, size=64, width=2.0, count=1):
    """A bright Gaussian spot, `x` and `y` pixels from the centre, on black."""
    axis = torch.arange(size) - (size - 1) / 2
    image = torch.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * width**2))
    return image.expand(count, 3, size, size).clone()


def centroid(images):
    """Where the spot of each image is, pixels from the centre: (N,) x and (N,) y."""
    mass = images.mean(1)
    axis = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    total = mass.sum((1, 2))
    return (mass.sum(1) * axis).sum(1) / total, (mass.sum(2) * axis).sum(1) / total


def keys(transforms, image):
    return {np.ascontiguousarray(transform(image)).tobytes() for transform in transforms}


@pytest.mark.parametrize(
    ("changed", "allowed"),
    [
        ({"quarter_turns": True, "flips": True}, TURNS + MIRRORS),
        ({"quarter_turns": True}, TURNS),
        ({"flips": True}, FLIPS),
        ({}, TURNS[:1]),
    ],
    ids=["all", "quarter_turns", "flips", "none"],
)
def test_turns_and_flips_are_exactly_those_asked_for_and_equally_often(changed, allowed):
    images = asymmetric(1600)
    result = run(images, **changed).numpy()
    seen = Counter(np.ascontiguousarray(image).tobytes() for image in result)
    assert set(seen) == keys(allowed, images[0].numpy())
    assert len(seen) == len(allowed)
    share = 1600 / len(allowed)
    assert min(seen.values()) > 0.75 * share
    assert max(seen.values()) < 1.25 * share


def test_turns_and_flips_only_move_pixels():
    images = torch.rand(50, 3, 8, 8, generator=generator())
    before = images.clone()
    result = augment(images, AugmentConfig(), generator())
    # every place keeps its colour: the three channels move together
    for image, turned in zip(images.flatten(2).permute(0, 2, 1), result.flatten(2).permute(0, 2, 1), strict=True):
        assert sorted(image.tolist()) == sorted(turned.tolist())
    torch.testing.assert_close(images, before, atol=0, rtol=0)
    assert result.shape == images.shape
    assert result.dtype == images.dtype


def test_by_default_only_places_change():
    assert not moves_color(AugmentConfig())
    default = AugmentConfig()
    assert (default.brightness, default.gamma, default.noise) == (0, [0, 0], 0)
    assert (default.rotation, default.shift, default.scale) == (0, 0, 0)
    assert (default.quarter_turns, default.flips) == (True, True)


EVERYTHING = {
    "quarter_turns": True,
    "flips": True,
    "rotation": 30.0,
    "shift": 0.1,
    "scale": 0.1,
    "brightness": 0.1,
    "gamma": [-0.2, 0.2],
    "noise": 0.05,
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_same_state_same_result_and_each_image_in_its_own_way(name):
    images = asymmetric(40, 16)
    changed = {name: EVERYTHING[name]}
    first = run(images, 3, **changed)
    torch.testing.assert_close(run(images, 3, **changed), first, atol=0, rtol=0)
    assert not torch.equal(run(images, 4, **changed), first)
    assert len({image.numpy().tobytes() for image in first}) > 3
    shared = generator(3)
    once, again = (augment(images, options(**changed), shared) for _ in range(2))
    torch.testing.assert_close(once, first, atol=0, rtol=0)
    assert not torch.equal(again, first)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    run(asymmetric(4, 16), **EVERYTHING)
    assert torch.equal(torch.get_rng_state(), state)


GEOMETRY = {"rotation": 180.0, "shift": 0.3, "scale": 0.3}


@pytest.mark.parametrize("name", [*GEOMETRY, "all"])
def test_a_constant_image_stays_constant(name):
    color = torch.tensor([0.9, 0.4, 0.05]).view(1, 3, 1, 1)
    images = color.expand(30, 3, 20, 20).clone()
    result = run(images, **(GEOMETRY if name == "all" else {name: GEOMETRY[name]}))
    torch.testing.assert_close(result, images, atol=1e-5, rtol=0)


def test_any_angle_keeps_the_mean_colour_of_a_round_image():
    disc = spot(0, 0, width=9.0, count=100)
    images = 0.9 - disc * torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1)
    result = run(images, rotation=180.0)
    drift = result.mean((2, 3)) / images.mean((2, 3)) - 1
    assert drift.abs().max() < 0.01
    # what comes from outside is a reflection, and reaches no further in than the inscribed circle
    axis = torch.arange(64) - 31.5
    circle = torch.hypot(axis[None], axis[:, None]) < 31
    assert (result - images).abs()[..., circle].max() < 0.005


@pytest.mark.parametrize("limit", [10.0, 90.0, 180.0])
def test_rotation_is_about_the_centre_up_to_the_angle_both_ways(limit):
    # near enough to the centre that no reflection of it comes in at the corners
    x, y = centroid(run(spot(12, 0, width=1.5, count=300), rotation=limit))
    torch.testing.assert_close(torch.hypot(x, y), torch.full((300,), 12.0), atol=0.1, rtol=0)
    angle = torch.rad2deg(torch.atan2(y, x))
    assert angle.abs().max() <= limit + 0.5
    assert angle.max() > 0.9 * limit
    assert angle.min() < -0.9 * limit
    assert angle.mean().abs() < 0.1 * limit


def test_rotation_is_no_mirror_image():
    (x1, y1), (x2, y2) = (centroid(run(spot(*at, width=1.5, count=50), rotation=180.0)) for at in ((12, 0), (0, 12)))
    # the second spot stays on the same side of the first, at a right angle
    torch.testing.assert_close(x1 * y2 - y1 * x2, torch.full((50,), 144.0), atol=3, rtol=0)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_shift_moves_by_at_most_the_share_in_both_directions(share):
    for moved in centroid(run(spot(0, 0, count=400), shift=share)):
        assert moved.abs().max() <= share * 64 + 0.05
        assert moved.max() > 0.9 * share * 64
        assert moved.min() < -0.9 * share * 64
    x, y = centroid(run(spot(0, 0, count=400), shift=share))
    assert torch.corrcoef(torch.stack([x, y]))[0, 1].abs() < 0.2


def test_shift_does_not_depend_on_the_image_size():
    small, large = (centroid(run(spot(0, 0, size, count=20), shift=0.2))[0] / size for size in (48, 96))
    torch.testing.assert_close(small, large, atol=2e-3, rtol=0)


def test_scale_enlarges_and_shrinks_about_the_centre():
    x, y = centroid(run(spot(15, 0, count=300), scale=0.2))
    torch.testing.assert_close(y, torch.zeros(300), atol=0.05, rtol=0)
    zoom = x / 15
    assert zoom.min() == pytest.approx(1 / 1.2, abs=0.02)
    assert zoom.max() == pytest.approx(1 / 0.8, abs=0.04)
    assert (zoom > 1).float().mean() == pytest.approx(0.5, abs=0.1)


def test_rotation_and_scale_together_keep_shapes():
    places = (centroid(run(spot(*at, width=1.5, count=50), rotation=180.0, scale=0.2)) for at in ((12, 0), (0, 12)))
    (x1, y1), (x2, y2) = places
    torch.testing.assert_close(torch.hypot(x1, y1), torch.hypot(x2, y2), atol=0.1, rtol=0)
    torch.testing.assert_close(x1 * x2 + y1 * y2, torch.zeros(50), atol=2, rtol=0)


def test_what_comes_from_outside_is_reflected_not_black():
    images = 0.5 + 0.5 * torch.rand(40, 3, 24, 24, generator=generator())
    assert run(images, rotation=45.0, shift=0.5).min() >= 0.5 - 1e-5


@pytest.mark.parametrize(
    ("name", "value"),
    [("brightness", 0.5), ("gamma", [-0.9, 3.0]), ("noise", 0.2)],
    ids=["brightness", "gamma", "noise"],
)
def test_changes_of_light_stay_in_range_and_are_known_to_move_the_colour(name, value):
    images = torch.linspace(0, 1, 16 * 16).view(1, 1, 16, 16).expand(60, 3, 16, 16).clone()
    assert moves_color(options(**{name: value}))
    result = run(images, **{name: value})
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.isfinite(result).all()
    assert ((result - images).abs().amax((1, 2, 3)) > 1e-3).float().mean() > 0.9


def test_gamma_of_one_end_only_moves_the_colour_too():
    assert moves_color(options(gamma=[0.0, 0.3]))
    assert moves_color(options(gamma=[-0.3, 0.0]))
    assert not moves_color(options(**GEOMETRY))


def test_brightness_adds_one_number_up_to_the_limit():
    images = torch.full((400, 3, 4, 4), 0.5)
    added = run(images, brightness=0.1) - images
    torch.testing.assert_close(added, added[:, :1, :1, :1].expand_as(added), atol=1e-6, rtol=0)
    assert added.abs().max() <= 0.1 + 1e-6
    assert added.max() > 0.09
    assert added.min() < -0.09


def test_gamma_raises_to_one_plus_a_value_of_the_range():
    images = torch.full((400, 3, 4, 4), 0.5)
    images[:, 1] = 0.25
    result = run(images, gamma=[-0.1, 0.4])
    power = torch.log2(result[:, 0, 0, 0]) / -1
    torch.testing.assert_close(torch.log2(result[:, 1, 0, 0]) / -2, power, atol=1e-5, rtol=0)
    assert power.min() == pytest.approx(0.9, abs=0.01)
    assert power.max() == pytest.approx(1.4, abs=0.01)


def test_noise_has_at_most_its_standard_deviation_and_no_mean():
    images = torch.full((200, 3, 16, 16), 0.5)
    noise = run(images, noise=0.05) - images
    sd = noise.std((1, 2, 3))
    assert sd.max() == pytest.approx(0.05, rel=0.1)
    assert sd.min() < 0.005
    assert noise.mean().abs() < 1e-3


def test_dihedral_views_are_the_eight_symmetries_and_start_with_the_images():
    images = torch.rand(5, 3, 8, 8, generator=generator())
    views = dihedral_views(images)
    assert len(views) == 8
    assert torch.equal(views[0], images)
    for i in range(5):
        found = {view[i].numpy().tobytes() for view in views}
        assert found == keys(TURNS + MIRRORS, images[i].numpy())
        assert len(found) == 8


@pytest.mark.parametrize("transform", (TURNS + MIRRORS)[1:])
def test_an_average_over_the_views_is_invariant(transform):
    images = torch.rand(4, 3, 8, 8, generator=generator()).double()
    weights = torch.rand(3, 8, 8, generator=generator(1)).double()

    def predict(images):
        return torch.tanh((images * weights).sum((1, 2, 3)) - 48)

    def averaged(images):
        return torch.stack([predict(view) for view in dihedral_views(images)]).mean(0)

    turned = torch.from_numpy(transform(images.numpy()).copy())
    assert (predict(turned) - predict(images)).abs().max() > 1e-3
    torch.testing.assert_close(averaged(turned), averaged(images), atol=1e-12, rtol=0)


def shown(options, seeds=range(200)):
    """Which of the 8 turns and flips of one photograph training shows."""
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    known = {view.numpy().tobytes(): number for number, view in enumerate(dihedral_views(image))}
    made = [augment(image, options, torch.Generator().manual_seed(seed)) for seed in seeds]
    return {known[view.contiguous().numpy().tobytes()] for view in made}


@pytest.mark.parametrize(
    "name", ["none", "mirror", "flips", "turns", "quarter_turns"], ids=lambda name: f"augment={name}"
)
def test_prediction_averages_over_what_training_shows_and_nothing_else(name):
    config = load_config([f"augment={name}"])
    assert set(config.augment.invariant_views) == shown(config.augment) == set(config.views)
    assert load_config([f"augment={name}", "combine.views=1"]).views == (0,)


@pytest.mark.parametrize(
    ("options", "views"),
    [
        (["augment=any_angle"], range(8)),
        (["augment=none", "augment.rotation=180"], range(4)),
        (["augment=none", "augment.rotation=90"], range(1)),
        (["augment=mirror", "augment.rotation=180"], range(8)),
        (["augment=turns", "augment.mirror=true"], range(8)),
    ],
)
def test_any_angle_holds_quarter_turns(options, views):
    assert load_config(options).views == tuple(views)


def test_another_exposure_adds_one_density_to_all_of_a_photograph():
    images = 0.2 + 0.6 * asymmetric(3)
    before = to_color(images, "optical_density")
    moved = to_color(run(images, exposure=0.1), "optical_density") - before
    torch.testing.assert_close(moved, moved[:, :1, :1, :1].expand_as(moved), atol=1e-5, rtol=0)
    assert len(moved[:, 0, 0, 0].unique()) == 3  # each photograph another
    coloured = to_color(run(images, white_balance=0.1), "optical_density") - before
    torch.testing.assert_close(coloured, coloured[:, :, :1, :1].expand_as(coloured), atol=1e-5, rtol=0)
    assert len(coloured[0, :, 0, 0].unique()) == 3
    assert moves_color(options(exposure=0.1))


def test_exposures_have_the_spread_that_is_asked_for():
    density = exposures(torch.randn(20_000, 4, generator=generator()), options(exposure=0.1, white_balance=0.03))
    torch.testing.assert_close(density.mean(1).std(), torch.tensor((0.01 + 0.0009 / 3) ** 0.5), rtol=0.03, atol=0)
    torch.testing.assert_close((density[:, 0] - density[:, 1]).std(), torch.tensor(0.03 * 2**0.5), rtol=0.03, atol=0)


@pytest.mark.parametrize(
    "changed",
    [
        {"rotation": 180.0},
        {"rotation": 30.0, "shift": 0.02},
        {"quarter_turns": True},
        {"quarter_turns": True, "flips": True},
        {"flips": True},
        {"mirror": True, "rotation": 45.0},
        {"quarter_turns": True, "mirror": True, "rotation": 180.0, "scale": 0.1},
        {"brightness": 0.1},
    ],
)
def test_an_angle_moves_as_told(changed):
    """A spot that lies 40 degrees from upright is found where the motion says that it went."""
    turn = np.radians(40)
    images = spot(-20 * np.sin(turn), -20 * np.cos(turn), count=40)
    found, motion = augmented(images, options(**changed), generator())
    x, y = centroid(found)
    degrees = np.degrees(np.arctan2(-np.asarray(x), -np.asarray(y)))
    away = np.mod(motion.moved(np.full(40, 40.0)) - degrees + 180, 360) - 180
    assert np.abs(away).max() < (8 if {"shift", "scale"} & set(changed) else 1)  # the rim is mirrored beyond it
    assert len(set(np.round(degrees))) > (1 if set(changed) != {"brightness"} else 0)

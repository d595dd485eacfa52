import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from twostage import Bins, load_config
from twostage.data.color import to_srgb
from twostage.options.choices import COMBINATIONS
from twostage.stages import combination
from twostage.stages.build import build_classifier, build_regressor, build_stage, warm_start
from twostage.stages.classifier import fit_temperature, log_bin_mass
from twostage.stages.reading import Reading
from twostage.stages.two_stage import TwoStage

TINY = (
    "image.size=32",
    "bins.count=4",
    "backbone.widths=[4,6]",
    "backbone.strides=[2,2]",
    "backbone.dilations=[1,1]",
    "regressor.overlap=0.5",
)
BINS = Bins.uniform(80, 350, 4)
UNEVEN = Bins([80, 100, 150, 260, 350])


@functools.cache
def tiny(*more):
    return load_config([*TINY, *more])


def images(count=6, size=32, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def photographs(count=6, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def random_probabilities(count, bins, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(bins.count), count)


def combine(bins, probabilities, offsets, *more):
    return combination.combine(bins, Reading(probabilities, offsets, np.zeros_like(offsets)), *more)


def gradients(module):
    return {key: torch.zeros_like(p) if p.grad is None else p.grad.clone() for key, p in module.named_parameters()}


def same_state(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def cross_entropy(logits, targets, temperature=1.0):
    return float(F.cross_entropy(torch.from_numpy(logits).double() / temperature, torch.from_numpy(targets).double()))


@pytest.mark.parametrize("method", [*COMBINATIONS, "oracle"])
@pytest.mark.parametrize("bins", [BINS, UNEVEN, Bins([80, 350])], ids=["uniform", "uneven", "one bin"])
def test_exact_offsets_give_the_concentration_back(bins, method):
    concentration = np.linspace(60, 380, 41)  # beyond the range as well
    offsets = (concentration[:, None] - bins.center) / bins.half_width
    found = combine(bins, random_probabilities(41, bins), offsets, method, concentration)
    assert found.shape == (41,)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, concentration, rtol=1e-12)


def test_mixture_is_the_expected_concentration():
    probabilities, offsets = np.array([[0.25, 0.75]]), np.array([[-1.0, 0.5]])
    assert combine(Bins([0, 10, 30]), probabilities, offsets) == pytest.approx(0.25 * 0 + 0.75 * 25)


@pytest.mark.parametrize("method", COMBINATIONS)
def test_a_certain_classifier_chooses_its_bin(method):
    offsets = np.random.default_rng(1).normal(size=(8, 4))
    certain = np.eye(4)[[0, 1, 2, 3, 3, 2, 1, 0]]
    chosen = combine(UNEVEN, certain, offsets, "argmax")
    np.testing.assert_allclose(combine(UNEVEN, certain, offsets, method), chosen, rtol=1e-12)
    index = certain.argmax(1)
    np.testing.assert_allclose(chosen, UNEVEN.concentration(index, offsets[np.arange(8), index]))


def test_oracle_takes_the_true_bin_whatever_the_classifier_says():
    offsets, target = np.array([[0.5, -0.5, 0.0, 1.0]] * 2), np.array([81.0, 349.0])
    found = combine(UNEVEN, np.eye(4)[[3, 0]], offsets, "oracle", target)
    np.testing.assert_allclose(found, [UNEVEN.center[0] + 0.5 * UNEVEN.half_width[0], 350.0])


def test_oracle_without_the_truth_is_refused():
    with pytest.raises(ValueError, match="oracle"):
        combine(BINS, np.eye(4), np.zeros((4, 4)), "oracle")


def test_top2_of_one_bin_is_that_bin():
    one = Bins([80, 350])
    np.testing.assert_allclose(combine(one, np.ones((2, 1)), np.array([[-1.0], [0.0]]), "top2"), [80, 215])


def test_top2_of_two_bins_is_the_mixture():
    two, offsets = Bins([80, 200, 350]), np.random.default_rng(2).normal(size=(9, 2))
    probabilities = random_probabilities(9, two)
    np.testing.assert_allclose(
        combine(two, probabilities, offsets, "top2"), combine(two, probabilities, offsets, "mixture")
    )


def test_top2_leaves_the_rest_out():
    probabilities, offsets = np.array([[0.1, 0.5, 0.1, 0.3]]), np.random.default_rng(3).normal(size=(1, 4))
    changed = offsets + np.array([[100.0, 0.0, -70.0, 0.0]])
    found = combine(BINS, probabilities, offsets, "top2")
    candidates = BINS.center + BINS.half_width * offsets[0]
    np.testing.assert_allclose(found, (0.5 * candidates[1] + 0.3 * candidates[3]) / 0.8)
    np.testing.assert_allclose(combine(BINS, probabilities, changed, "top2"), found)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_is_recovered(true):
    logits = np.random.default_rng(0).normal(0, 2, (300, 4))
    targets = torch.from_numpy(logits).softmax(-1).numpy()
    assert fit_temperature(logits * true, targets) == pytest.approx(true, rel=1e-3)


def test_temperature_is_recovered_from_drawn_bins():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 4))
    drawn = (torch.from_numpy(logits).softmax(-1).numpy().cumsum(1) < rng.uniform(size=(4000, 1))).sum(1)
    assert fit_temperature((logits * 3).astype(np.float32), np.eye(4, dtype=np.float32)[drawn]) == pytest.approx(3, 0.1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_temperature_never_does_harm(seed, scale, right):
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(np.full(4, 0.2), 12)
    logits = scale * (np.log(targets + 1e-6) if right else rng.normal(size=(12, 4)))
    temperature = fit_temperature(logits, targets)
    assert 0 < temperature < np.inf
    assert cross_entropy(logits, targets, temperature) <= cross_entropy(logits, targets) + 1e-9


def test_probabilities_take_the_temperature():
    classifier = build_classifier(tiny(), BINS).eval()
    with torch.no_grad():
        logits = classifier(images())
        classifier.temperature.fill_(2.5)
        torch.testing.assert_close(classifier.probabilities(images()), (logits / 2.5).softmax(-1))
        assert not torch.allclose(classifier.probabilities(images()), logits.softmax(-1))


def test_classifier_loss_is_the_cross_entropy():
    classifier = build_classifier(tiny(), BINS).eval()
    targets = classifier.targets(np.linspace(90, 340, 6))
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    entropy = -(targets * targets.clamp_min(1e-12).log()).sum(1).mean()
    assert classifier.loss(images(), targets) > entropy + 1e-3
    classifier.forward = lambda _: targets.clamp_min(1e-12).log()
    torch.testing.assert_close(classifier.loss(images(), targets), entropy)
    centers = torch.from_numpy(BINS.center).float()
    torch.testing.assert_close(classifier.estimate(images(), targets), targets @ centers)


@pytest.mark.parametrize("smoothing", [0.1, 0.25, 2.0])
@pytest.mark.parametrize("bins", [BINS, UNEVEN, Bins([80, 350])], ids=["uniform", "uneven", "one bin"])
def test_without_corrections_the_classifier_spreads_its_estimate_as_the_targets_do(bins, smoothing):
    classifier = build_classifier(tiny(f"classifier.smoothing={smoothing}"), bins).eval()
    concentration = np.array([-500, 60, 80, 99, 100, 101, 215, 300, 350, 400, 1000.0])
    classifier.network.estimate = lambda _: torch.from_numpy(concentration[:, None]).float()
    with torch.no_grad():
        found = classifier.probabilities(images(11))
    np.testing.assert_allclose(found, bins.soft_targets(concentration, smoothing), atol=1e-5)
    targets = classifier.targets(concentration)
    entropy = -(targets * targets.clamp_min(1e-30).log()).sum(1).mean()
    torch.testing.assert_close(classifier.loss(images(11), targets), entropy, rtol=1e-4, atol=1e-4)


def test_corrections_change_the_bins():
    classifier = build_classifier(tiny(), BINS).eval()
    with torch.no_grad():
        before = classifier(images())
        classifier.corrections.bias[2] = 1.5
        torch.testing.assert_close(classifier(images()) - before, torch.tensor([0, 0, 1.5, 0]).expand(6, 4))


@pytest.mark.parametrize("distance", [0.0, 3.0, 100.0, 5e3, 3e4, 1e5])
def test_bin_masses_stay_numbers_however_far_the_estimate(distance):
    # a narrow smoothing, many bins and an odd photograph lead far away, in standard deviations
    inner = torch.linspace(-3, 3, 5)[None] + torch.tensor([[-1.0], [1.0]]) * distance
    inner.requires_grad_()
    mass = log_bin_mass(inner)
    assert mass.shape == (2, 6)
    torch.testing.assert_close(mass.exp().sum(1), torch.ones(2), rtol=1e-4, atol=1e-5)
    torch.logsumexp(mass / 3, 1).sum().backward()
    assert inner.grad.isfinite().all()


def with_random_corrections(regressor):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in regressor.corrections.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return regressor


@pytest.mark.parametrize("pooling", ["mean", "masks"])
def test_all_bins_point_to_one_concentration_but_for_the_corrections(pooling):
    regressor = build_regressor(tiny(f"pooling={pooling}"), UNEVEN).double().eval()
    photos, center, half_width = images().double(), UNEVEN.center, UNEVEN.half_width

    def pointed():
        with torch.no_grad():
            return center + half_width * regressor(photos)[0].numpy()

    with_random_corrections(regressor)
    corrected = pointed()
    assert np.ptp(corrected, axis=1).min() > 1e-3
    for parameter in regressor.corrections.parameters():
        torch.nn.init.zeros_(parameter)
    shared = pointed()
    np.testing.assert_allclose(np.ptp(shared, axis=1), 0, atol=1e-9)
    assert np.ptp(shared[:, 0]) > 0
    # per photograph and bin, a correction is an offset in units of the half width
    slope = (corrected - shared) / half_width
    assert 0.01 < np.abs(slope).max() < 10


def test_corrections_read_the_backbone_but_do_not_shape_it():
    regressor = with_random_corrections(build_regressor(tiny("pooling=masks"), BINS).double())
    offsets, _ = regressor(images().double())
    pointed = torch.from_numpy(BINS.center) + torch.from_numpy(BINS.half_width) * offsets
    (pointed[:, 0] - pointed[:, 3]).sum().backward()  # the shared estimate cancels
    found = gradients(regressor)
    assert found["corrections.weight"][[0, 3]].abs().min() > 0
    assert all(grad.abs().max() < 1e-9 for key, grad in found.items() if key.startswith("network."))


def test_offsets_are_not_clipped():
    regressor = build_regressor(tiny(), BINS).eval()
    with torch.no_grad():
        regressor.network.readout.bias[0] = 50.0
        offsets, _ = regressor(images())
    assert (offsets > 10).all()


@pytest.mark.parametrize("loss", ["huber", "gaussian"])
def test_a_photograph_outside_a_bin_teaches_it_nothing(loss):
    regressor = build_regressor(tiny(f"regressor.loss={loss}"), BINS)
    targets = regressor.targets(np.full(6, BINS.center[0]))
    assert targets[:, 1].tolist() == [[1, 0, 0, 0]] * 6
    regressor.loss(images(), targets).backward()
    for layer in (regressor.corrections, regressor.log_scale):
        for parameter in (layer.weight, layer.bias):
            assert parameter.grad[0].abs().sum() > 0
            assert (parameter.grad[1:] == 0).all()


def test_a_photograph_near_a_border_teaches_both_bins():
    regressor = build_regressor(tiny(), BINS)
    regressor.loss(images(), regressor.targets(np.full(6, BINS.edges[1] + 1))).backward()
    rows = regressor.corrections.weight.grad.abs().sum(1)
    assert (rows > 0).tolist() == [True, True, False, False]


def test_targets_are_offsets_and_memberships():
    regressor = build_regressor(tiny(), UNEVEN)
    concentration = np.linspace(70, 360, 6)
    targets = regressor.targets(concentration)
    assert targets.shape == (6, 2, 4)
    pointed = UNEVEN.center + UNEVEN.half_width * targets[:, 0].double().numpy()
    np.testing.assert_allclose(pointed, np.tile(concentration[:, None], 4), rtol=1e-5)
    np.testing.assert_allclose(targets[:, 1], UNEVEN.membership(concentration, 0.5), atol=1e-6)


def with_errors(regressor, units, log_scale=0.0):
    """Let the shared estimate be wrong by `units` (N,1): a leaf, and targets to which that applies."""
    leaf, true = units.clone().requires_grad_(), torch.linspace(90, 340, len(units))
    regressor.network.estimate = lambda _: true[:, None] + leaf
    torch.nn.init.constant_(regressor.log_scale.bias, log_scale)
    return leaf, regressor.targets(true.double().numpy())


@pytest.mark.parametrize("bins", [BINS, UNEVEN])
def test_huber_loss_is_that_of_torch(bins):
    share = 0.05
    regressor = build_regressor(tiny(f"regressor.huber_delta={share}"), bins)
    delta = share * 270
    units = torch.linspace(-4, 4, 6)[:, None] * delta  # both sides of the bend
    leaf, targets = with_errors(regressor, units)
    loss = regressor.loss(images(), targets)
    loss.backward()
    theirs, weight, mean_half_width = units.clone().requires_grad_(), targets[:, 1], float(bins.half_width.mean())
    huber = F.huber_loss(theirs, torch.zeros_like(units), reduction="none", delta=delta) / mean_half_width**2
    huber.mean().backward()  # in units: alike in wide and narrow bins, whatever the memberships
    torch.testing.assert_close(leaf.grad, theirs.grad)
    of_bins = huber * weight + 0.5 * (units / regressor.half_width) ** 2 * weight  # the log-scales are zero
    torch.testing.assert_close(loss, (huber[:, 0] + of_bins.sum(1)).mean())


def test_the_mean_of_a_batch_is_taken_as_it_is_asked_for():
    regressor = build_regressor(tiny(), UNEVEN)
    regressor.solved_later = True
    asked = []
    _, targets = with_errors(regressor, torch.ones(6, 1))
    regressor.loss(images(), targets, lambda error: asked.append(error) or error.mean())
    assert len(asked) == 1


def test_where_the_last_layer_is_solved_later_a_common_error_counts_little():
    regressor = build_regressor(tiny("regressor.huber_delta=10"), UNEVEN)
    units = torch.linspace(-2, 2, 6)[:, None]

    def slope(common, solved_later):
        regressor.solved_later = solved_later
        leaf, targets = with_errors(regressor, units + common)
        regressor.loss(images(), targets).backward()
        return leaf.grad

    torch.testing.assert_close(slope(0.0, True), slope(0.0, False))
    assert slope(30.0, False).sum() == pytest.approx(100 * float(slope(30.0, True).sum()), rel=1e-3)


def test_gaussian_loss_is_that_of_torch():
    regressor = build_regressor(tiny("regressor.loss=gaussian"), UNEVEN)
    units = torch.linspace(-20, 20, 6)[:, None]
    leaf, targets = with_errors(regressor, units, 0.7)
    loss = regressor.loss(images(), targets)
    error = units / regressor.half_width
    variance = torch.full_like(error, float(np.exp(2 * 0.7)))
    expected = F.gaussian_nll_loss(error, torch.zeros_like(error), variance, reduction="none")
    torch.testing.assert_close(loss, (expected * targets[:, 1]).sum(1).mean())
    loss.backward()
    assert leaf.grad.abs().sum() > 0


def test_log_scale_reads_the_backbone_but_does_not_shape_it():
    regressor = build_regressor(tiny(), BINS)
    with torch.no_grad():
        regressor.log_scale.weight.copy_(torch.linspace(-0.1, 0.1, regressor.log_scale.weight.numel()).view(4, -1))
    _, log_scales = regressor(images())
    assert log_scales.std(0).min() > 0
    log_scales.sum().backward()
    moved = {key for key, grad in gradients(regressor).items() if grad.abs().sum() > 0}
    assert moved == {"log_scale.weight", "log_scale.bias"}


@pytest.mark.parametrize(("loss", "same"), [("huber", True), ("gaussian", False)])
def test_log_scale_weighs_errors_in_the_gaussian_loss_alone(loss, same):
    found = []
    for log_scale in (0.0, 1.5):
        regressor = build_regressor(tiny(f"regressor.loss={loss}"), BINS)
        torch.nn.init.constant_(regressor.log_scale.bias, log_scale)
        regressor.loss(images(), regressor.targets(np.linspace(90, 340, 6))).backward()
        found.append(gradients(regressor.network))
    assert any(grad.abs().sum() > 0 for grad in found[0].values())
    assert all(torch.equal(grad, found[1][key]) for key, grad in found[0].items()) == same


def test_estimate_is_the_true_bins_candidate():
    regressor = with_random_corrections(build_regressor(tiny(), UNEVEN)).eval()
    concentration = np.array([70, 99, 149, 151, 300, 360.0])
    with torch.no_grad():
        offsets, _ = regressor(images())
        found = regressor.estimate(images(), regressor.targets(concentration))
    np.testing.assert_allclose(
        found, combine(UNEVEN, np.ones((6, 4)), offsets.numpy(), "oracle", concentration), rtol=1e-5
    )


@pytest.mark.parametrize("edges", [[80, 90, 350], [0, 1, 2, 100, 103], [0, 50, 51, 60], [5, 9]])
def test_the_true_bin_in_validation_is_the_one_that_holds_the_concentration(edges):
    uneven = Bins(edges)
    regressor = build_regressor(tiny(), uneven).eval()
    concentration = np.r_[edges, np.linspace(2 * edges[0] - edges[-1], 2 * edges[-1] - edges[0], 41)]
    shown = images()[:1].expand(len(concentration), -1, -1, -1)
    with torch.no_grad():
        regressor.corrections.bias.copy_(1e3 * torch.arange(1, len(edges)))  # each bin says something else
        offsets = regressor(shown)[0].numpy()
        found = regressor.estimate(shown, regressor.targets(concentration))
    true = np.arange(len(concentration)), uneven.index(concentration)
    np.testing.assert_allclose(found, uneven.candidates(offsets)[true], rtol=1e-4)


PARTS = ("backbone", "pooling", "readout")


def test_warm_start_copies_all_but_the_corrections():
    config = tiny()
    classifier = build_classifier(config, BINS).eval()
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(0.1)
    regressor, untouched = build_regressor(config, BINS).eval(), build_regressor(config, BINS)
    assert warm_start(regressor, classifier) == []
    for part in PARTS:
        assert same_state(getattr(regressor.network, part), getattr(classifier.network, part))
        assert not same_state(getattr(untouched.network, part), getattr(classifier.network, part))
    assert same_state(regressor.corrections, untouched.corrections)
    with torch.no_grad():  # the regressor starts with the classifier's estimate
        known = classifier.network.estimate(classifier.network.pooled(images())).numpy()
        found = BINS.center + BINS.half_width * regressor(images())[0].numpy()
        np.testing.assert_allclose(found, np.tile(known, 4), rtol=1e-4)
        next(regressor.network.backbone.parameters()).add_(1.0)  # a copy, not shared
    assert not same_state(regressor.network.backbone, classifier.network.backbone)


@pytest.mark.parametrize(
    ("other", "different"),
    [
        (["+backbone@regressor.backbone=vgg"], list(PARTS)),
        (["+backbone@regressor.backbone=vgg", "regressor.backbone.widths=[4,4]"], list(PARTS)),
        (["+backbone@regressor.backbone=compact", "regressor.backbone.widths=[5,6]"], ["backbone"]),
    ],
)
def test_warm_start_names_what_it_cannot_copy(other, different):
    if "compact" in other[0]:
        other = [*other, "regressor.backbone.strides=[2,2]", "regressor.backbone.dilations=[1,1]"]
    config = tiny(*other)
    regressor, before = build_regressor(config, BINS), build_regressor(config, BINS)
    assert warm_start(regressor, build_classifier(config, BINS)) == different
    assert same_state(regressor.network.backbone, before.network.backbone)


@pytest.mark.parametrize("build", [build_classifier, build_regressor])
def test_weights_depend_on_the_seed_alone(build):
    torch.manual_seed(1)
    one = build(tiny("seed=3"), BINS)
    torch.manual_seed(2)
    same, other = build(tiny("seed=3"), BINS), build(tiny("seed=4"), BINS)
    differing = [key for key, value in one.state_dict().items() if not torch.equal(value, same.state_dict()[key])]
    assert differing == []
    assert not same_state(one, other)


@pytest.mark.parametrize("build", [build_classifier, build_regressor])
def test_building_leaves_the_global_random_state_alone(build):
    state = torch.get_rng_state()
    build(tiny(), BINS)
    assert torch.equal(torch.get_rng_state(), state)


def two_stage(*more, bins=BINS):
    config = tiny(*more)
    return TwoStage(bins, build_classifier(config, bins), build_regressor(config, bins), config.image.color)


def test_to_srgb_keeps_every_grey_level():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    srgb = to_srgb(pixels, torch.device("cpu"))
    assert srgb.shape == (1, 3, 16, 16)
    assert np.array_equal(np.rint(srgb.permute(0, 2, 3, 1).numpy() * 255), pixels)
    assert (srgb.min(), srgb.max()) == (0, 1)


@pytest.mark.parametrize("views", [(0,), range(8)])
def test_a_reading_does_not_depend_on_the_batch_size(views, monkeypatch):
    model, pixels = two_stage(), photographs(7)
    whole = model.read(pixels, views=views)
    for batch_size in (1, 3, 7):
        for module in ("reading", "two_stage"):
            monkeypatch.setattr(f"twostage.stages.{module}.BATCH", batch_size)
        for found, expected in zip(model.read(pixels, views=views), whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def views_of(pixels):
    quarter = [np.ascontiguousarray(np.rot90(pixels, k, (1, 2))) for k in range(4)]
    return quarter + [np.ascontiguousarray(view[:, :, ::-1]) for view in quarter]


@pytest.mark.parametrize("pooling", ["masks", "flatten"])
def test_eight_views_do_not_see_turns_and_flips(pooling):
    model, pixels = two_stage(f"pooling={pooling}"), photographs(3)
    expected, alone = model.read(pixels), model.read(pixels, views=[0])
    for turned in views_of(pixels):
        for found, known in zip(model.read(turned), expected, strict=True):
            np.testing.assert_allclose(found, known, rtol=1e-5, atol=1e-5)
    assert np.abs(model.read(views_of(pixels)[5], views=[0]).offsets - alone.offsets).max() > 1e-4


def test_prediction_is_plain_numbers_in_evaluation_mode():
    model, pixels = two_stage(), photographs(5)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    reading = model.read(pixels)
    assert [part.shape for part in reading] == [(5, 4)] * 3 + [(5,)]
    assert {part.dtype for part in reading} == {np.dtype(np.float64)}
    np.testing.assert_allclose(reading.probabilities.sum(1), 1, rtol=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    none = model.read(pixels[:0])
    assert [part.shape for part in none] == [(0, 4)] * 3 + [(0,)]


def test_without_a_classifier_there_is_one_certain_bin():
    one = Bins([80, 350])
    config = tiny("method=direct")
    model = TwoStage(one, None, build_regressor(config, one), config.image.color)
    reading = model.read(photographs(3))
    assert (reading.probabilities == 1).all()
    assert reading.offsets.shape == reading.log_scales.shape == (3, 1)


@pytest.mark.parametrize("color", ["srgb", "linear", "optical_density", "grayscale"])
def test_prediction_takes_photographs_of_every_color(color):
    probabilities, offsets, *_ = two_stage(f"image.color={color}").read(photographs(2))
    assert np.isfinite(probabilities).all()
    assert np.isfinite(offsets).all()


@pytest.mark.parametrize("count", [10, 1000, 20_000])
def test_many_and_sharp_bins_have_finite_logits_and_slopes(count):
    inner = 4.0 * torch.arange(1, count)
    estimate = torch.tensor([[0.0], [2.0 * count], [4.0 * count + 50], [-1e9]], requires_grad=True)
    mass = log_bin_mass(inner - estimate)
    assert torch.isfinite(mass).all()
    torch.testing.assert_close(mass.exp().sum(1), torch.ones(4))
    target = torch.zeros_like(mass)
    target[:, 0] = 1
    (-(target * mass.log_softmax(1)).sum()).backward()
    assert torch.isfinite(estimate.grad).all()
    assert (estimate.grad[1:3] > 0).all()  # too high: the slope leads back, however far it is


@pytest.mark.parametrize("bins", [BINS, UNEVEN])
def test_networks_see_no_difference_where_all_targets_are_moved(bins):
    """1e7 + u leaves float32 nothing of u."""
    found = []
    for by in (0.0, 1e7):
        moved = Bins(bins.edges + by)
        stage = build_stage("regressor", tiny(), moved)
        stage.network.readout.bias.data.fill_(0.1)
        values = np.linspace(90, 340, 6) + by - moved.origin
        offsets, _ = stage(images())
        found.append((stage.targets(values), offsets.detach() * stage.half_width))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    spread = [units - units.mean() for _, units in found]
    torch.testing.assert_close(spread[0], spread[1], rtol=1e-4, atol=1e-2)

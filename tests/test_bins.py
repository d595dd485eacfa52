import numpy as np
import pytest
from scipy.stats import norm

from twostage.bins import Bins
from twostage.errors import ConfigError

UNIFORM = Bins.uniform(80, 350, 9)
UNEVEN = Bins([0.1, 0.5, 2.0, 7.0, 30.0, 31.0])
LOG = Bins.uniform(0.01, 1000, 5, "log")
UNEVEN_LOG = Bins([0.1, 0.5, 2.0, 7.0, 30.0, 31.0], "log")
ALL = pytest.mark.parametrize(
    "bins",
    [UNIFORM, UNEVEN, Bins([-5, 5]), LOG, UNEVEN_LOG, Bins([1e-9, 4e-9], "log")],
    ids=["uniform", "uneven", "one", "log", "uneven log", "one log"],
)


def anywhere(bins, count=500, seed=0):
    """Concentrations inside the range and one range's width, on the scale, beyond it on both sides."""
    low, high = bins.places[[0, -1]]
    return bins.scale.back(np.random.default_rng(seed).uniform(2 * low - high, 2 * high - low, count))


def counts(bins, targets):
    return np.bincount(bins.index(targets), minlength=bins.count)


@ALL
def test_bin_and_offset_give_the_concentration_back(bins):
    values = anywhere(bins)
    np.testing.assert_allclose(bins.concentration(bins.index(values), bins.offset(values, bins.index(values))), values)
    any_bin = np.random.default_rng(1).integers(0, bins.count, len(values))
    error = bins.concentration(any_bin, bins.offset(values, any_bin)) - values
    assert np.abs(error).max() < 1e-9


@ALL
def test_offset_is_within_one_exactly_inside_the_range(bins):
    values = anywhere(bins)
    inside = (values >= bins.edges[0]) & (values <= bins.edges[-1])
    assert inside.any()
    assert (~inside).any()
    np.testing.assert_array_equal(np.abs(bins.offset(values, bins.index(values))) <= 1 + 1e-12, inside)


def test_offset_is_minus_one_zero_one_at_low_edge_center_high_edge():
    for k in range(UNEVEN.count):
        low, high = UNEVEN.edges[k : k + 2]
        offsets = UNEVEN.offset([low, (low + high) / 2, high], [k, k, k])
        np.testing.assert_allclose(offsets, [-1, 0, 1], atol=1e-12)


@ALL
def test_an_edge_belongs_to_the_bin_above_and_the_last_to_the_last(bins):
    expected = [*range(bins.count), bins.count - 1]
    assert bins.index(bins.edges).tolist() == expected
    assert bins.index(np.nextafter(bins.edges[1:], -np.inf)).tolist() == list(range(bins.count))


@ALL
def test_beyond_the_range_is_the_first_or_last_bin(bins):
    assert bins.index([bins.edges[0] - 1e-9, -1e9]).tolist() == [0, 0]
    assert bins.index([bins.edges[-1] + 1e-9, 1e9]).tolist() == [bins.count - 1] * 2
    assert bins.index([0.0]).dtype == np.int64


@ALL
@pytest.mark.parametrize("smoothing", [0.01, 0.25, 1.0])
def test_soft_targets_are_probabilities(bins, smoothing):
    soft = bins.soft_targets(anywhere(bins), smoothing)
    assert soft.shape == (500, bins.count)
    assert (soft >= 0).all()
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("bins", [UNIFORM, UNEVEN], ids=["uniform", "uneven"])
def test_soft_targets_integrate_a_gaussian_with_the_tails_in_the_end_bins(bins):
    values = anywhere(bins, 50)
    sd = 0.25 * np.mean(np.diff(bins.edges))
    edges = bins.stretched(bins.edges)
    edges[0], edges[-1] = -np.inf, np.inf
    expected = np.diff(norm.cdf(edges[None], bins.stretched(values)[:, None], sd), axis=1)
    np.testing.assert_allclose(bins.soft_targets(values, 0.25), expected, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.25, 0.5, 1.0])
def test_mean_of_soft_targets_is_the_concentration_in_mid_range(smoothing):
    bins = Bins.uniform(0, 100, 50)
    values = np.linspace(40, 60, 201)
    mean = bins.soft_targets(values, smoothing) @ bins.center
    # the largest deviation of a mean over bins of width w is w / pi * exp(-2 pi^2 smoothing^2), a little rounded up
    assert np.abs(mean - values).max() < 1.01 * 2 / np.pi * np.exp(-2 * np.pi**2 * smoothing**2) + 1e-9


@ALL
def test_soft_targets_far_outside_are_the_end_bin(bins):
    low, high = bins.places[[0, -1]]
    first, last = bins.soft_targets(bins.scale.back([low - 20 * (high - low), high + 20 * (high - low)]), 0.25)
    assert first.tolist() == [1.0] + [0.0] * (bins.count - 1)
    assert last.tolist() == [0.0] * (bins.count - 1) + [1.0]


@ALL
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 3.0])
def test_membership_is_one_in_the_own_bin_and_zero_beyond_the_overlap(bins, overlap):
    values = anywhere(bins)
    member, places = bins.membership(values, overlap), bins.scale.to(values)
    assert member.shape == (500, bins.count)
    assert ((member >= 0) & (member <= 1)).all()
    np.testing.assert_array_equal(member[np.arange(500), bins.index(values)], 1)
    for k, (low, high) in enumerate(zip(bins.places[:-1], bins.places[1:], strict=True)):
        reach = overlap * (high - low) + 1e-9
        beyond = ((places < low - reach) & (k > 0)) | ((places > high + reach) & (k < bins.count - 1))
        np.testing.assert_allclose(member[beyond, k], 0, atol=1e-12)


@pytest.mark.parametrize("overlap", [0.1, 0.5, 2.0])
def test_membership_falls_through_one_half_at_half_way(overlap):
    for k in range(1, UNEVEN.count - 1):
        low, high = UNEVEN.edges[k : k + 2]
        reach = overlap * (high - low)
        for edge, side in ((low, -1), (high, 1)):
            falling = UNEVEN.membership(edge + side * reach * np.array([0.0, 0.2, 0.5, 0.8, 1.0]), overlap)[:, k]
            assert falling[[0, 2, 4]] == pytest.approx([1, 0.5, 0], abs=1e-9)
            assert (np.diff(falling) < 0).all()


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_end_bins_keep_everything_beyond_the_range(overlap):
    member = UNEVEN.membership([-1e6, -40.0, 1e6, 90.0], overlap)
    assert member[:2].tolist() == [[1, 0, 0, 0, 0]] * 2
    assert member[2:].tolist() == [[0, 0, 0, 0, 1]] * 2


@ALL
def test_no_overlap_is_one_hot_also_on_the_edges(bins):
    values = np.concatenate([anywhere(bins), bins.edges])
    member = bins.membership(values, 0)
    assert set(np.unique(member)) <= {0.0, 1.0}
    np.testing.assert_array_equal(member.sum(1), 1)
    np.testing.assert_array_equal(member.argmax(1), bins.index(values))


def test_uniform_has_equal_widths_between_the_ends():
    np.testing.assert_allclose(UNIFORM.edges, np.arange(80, 351, 30))
    assert UNIFORM.count == 9
    np.testing.assert_allclose(UNIFORM.half_width, 15)
    np.testing.assert_allclose(UNIFORM.center[[0, 8]], [95, 335])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_quantile_bins_hold_about_equally_many(count):
    targets = np.random.default_rng(0).lognormal(3, 1, 701)
    bins = Bins.quantile(targets, count)
    assert bins.count == count
    assert bins.edges[[0, -1]].tolist() == [targets.min(), targets.max()]
    assert np.ptp(counts(bins, targets)) <= 2


def test_quantile_bins_join_where_targets_repeat():
    targets = np.repeat([1.0, 5.0, 9.0], [5, 90, 5])
    bins = Bins.quantile(targets, 8)
    assert bins.edges.tolist() == [1, 5, 9]
    assert Bins.quantile([1.0, 1.0, 1.0, 1.0, 2.0], 2).edges.tolist() == [1, 2]


def test_quantile_bins_span_the_given_range_and_count_only_what_is_inside():
    targets = np.concatenate([np.linspace(0, 10, 100, endpoint=False), np.full(500, 1000.0)])
    bins = Bins.quantile(targets, 4, low=-2, high=12)
    assert bins.edges[[0, -1]].tolist() == [-2, 12]
    assert counts(bins, targets[:100]).tolist() == pytest.approx([25] * 4, abs=1)
    assert Bins.quantile(targets, 4, low=2, high=6).edges == pytest.approx([2, 3, 4, 5, 6], abs=0.1)


def test_quantile_without_a_target_in_range_or_with_one_value_is_refused():
    with pytest.raises(ConfigError, match=r"no training target lies in the range 100\.\.200"):
        Bins.quantile([1.0, 2.0, 3.0], 2, low=100, high=200)
    with pytest.raises(ConfigError):
        Bins.quantile([4.0, 4.0, 4.0], 2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("least", [1, 5, 40, 1000])
def test_merged_leaves_enough_in_each_bin_and_keeps_the_range(seed, least):
    rng = np.random.default_rng(seed)
    targets = np.concatenate([rng.normal(rng.uniform(80, 350), 20, 60), rng.uniform(0, 400, rng.integers(0, 60))])
    bins = UNIFORM.merged(targets, least)
    assert bins.count == 1 or counts(bins, targets).min() >= least
    assert bins.edges[[0, -1]].tolist() == [80, 350]
    assert set(bins.edges) <= set(UNIFORM.edges)
    if least == 1000:
        assert bins.count == 1


def test_merged_joins_the_emptier_neighbour():
    bins = Bins([0, 10, 20, 30]).merged([1, 2, 3, 4, 5, 15, 21, 22, 23], least=2)
    assert bins.edges.tolist() == [0, 10, 30]


def test_merged_counts_groups_where_they_are_known():
    targets, groups = [1, 2, 3, 11, 12, 13, 25, 26], np.array(list("aaabcdef"))
    bins = Bins([0, 10, 20, 30]).merged(targets, 2, groups)
    assert bins.edges.tolist() == [0, 20, 30]
    assert Bins([0, 10, 20, 30]).merged(targets, 1, groups).count == 3


def test_merged_leaves_full_bins_as_they_are():
    assert UNEVEN.merged(UNEVEN.center, least=1) == UNEVEN


def test_bins_cannot_be_changed():
    edges = np.array([0.0, 1.0, 2.0])
    bins = Bins(edges)
    edges[0] = -7
    assert bins.edges.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        bins.edges[0] = 5
    bins.center[0] = bins.half_width[0] = 99
    assert (bins.center[0], bins.half_width[0]) == (0.5, 0.5)
    bins.membership([0.5], 0.5)
    assert bins.edges.tolist() == [0, 1, 2]


def test_edges_cannot_be_replaced():
    with pytest.raises(AttributeError):
        Bins([0, 1]).edges = np.array([3.0, 4.0])


def test_equal_edges_are_equal_bins():
    same = Bins([80 + 30 * k for k in range(10)])
    assert same == UNIFORM
    assert hash(same) == hash(UNIFORM)
    assert same != UNEVEN
    assert same != "bins"
    assert len({same, UNIFORM, UNEVEN}) == 2


@pytest.mark.parametrize(
    "edges",
    [[], [1], [1, 1], [2, 1], [0, 1, 1], [0, 2, 1], [0, np.nan, 2], [np.nan, 1], [0, np.inf], [-np.inf, 0], [[0, 1]]],
    ids=str,
)
def test_bad_edges_are_refused(edges):
    with pytest.raises(ConfigError, match="increasing"):
        Bins(edges)


@pytest.mark.parametrize("edges", [["80", "350"], [False, True], [0, 10**400], [None, 1], [0, 1e31], [-1e308, 1e308]])
def test_edges_that_are_no_numbers_or_beyond_what_networks_count_with(edges):
    with pytest.raises(ConfigError, match="bin edges must"):
        Bins(edges)
    Bins([-1e30, 1e30])


@pytest.mark.parametrize("arguments", [(80, 350, 0), (350, 80, 3), (5, 5, 2), (0, np.nan, 2)])
def test_bad_uniform_bins_are_refused(arguments):
    with pytest.raises(ConfigError):
        Bins.uniform(*arguments)


@pytest.mark.parametrize("smoothing", [0.1, 0.25])
def test_the_likeliest_bin_of_a_perfect_classifier_holds_the_concentration(smoothing):
    """Whatever the widths: with one spread for all the narrow bins of log-uniform targets were never named."""
    targets = np.exp(np.random.default_rng(0).uniform(0, np.log(1000), 5000))
    bins = Bins.quantile(targets, 9)
    assert np.ptp(bins.half_width) > 100 * bins.half_width.min()
    assert (bins.soft_targets(targets, smoothing).argmax(1) == bins.index(targets)).all()


def test_the_stretched_scale_has_bins_of_equal_width_and_leaves_equal_bins_alone():
    bins, equal = Bins([0, 1, 3, 10]), Bins.uniform(80, 350, 9)
    np.testing.assert_allclose(np.diff(bins.stretched(bins.edges)), 10 / 3)
    np.testing.assert_allclose(np.diff(bins.stretched([-2.0, -1.0, 11.0, 12.0]))[[0, 2]], [10 / 3, 10 / 21])
    values = np.random.default_rng(0).uniform(60, 370, 100)
    np.testing.assert_array_equal(equal.stretched(values), values)


def test_edges_lie_between_levels():
    levels = np.linspace(80, 350, 10)
    bins = Bins.uniform(80, 350, 9).between(levels)
    assert bins.edges.tolist() == [80, 125, 155, 185, 215, 245, 275, 305, 335, 350]
    tenths = np.round(np.arange(5.0, 8.05, 0.1), 1)
    steps = Bins(np.arange(5.0, 8.05, 0.3)).between(tenths)
    assert np.abs(steps.edges[1:-1, None] - tenths).min() > 0.049  # no rounding decides the bin of a level
    assert Bins([0, 5, 10]).between([1, 2]).edges.tolist() == [0, 5, 10]  # no level above: it stays
    assert Bins([0, 4, 5, 10]).between([1, 9]).edges.tolist() == [0, 5, 10]  # both edges meet


def test_networks_count_from_the_middle_where_the_range_lies_far_from_zero():
    far = Bins.uniform(1e6, 1e6 + 270, 9)
    assert far.origin == 1e6 + 135
    assert far.moved().edges[[0, -1]].tolist() == [-135, 135]
    near = Bins.uniform(80, 350, 9)
    assert near.origin == 0
    assert near.moved() == near


def test_a_mean_far_from_zero_does_not_suffer_from_weights_that_are_rounded():
    bins = Bins.uniform(1e7, 1e7 + 270, 3)
    weights = np.array([[0.2, 0.3, 0.5]]) * (1 + 1e-7)  # as a softmax in float32 leaves them
    expected = 1e7 + 0.2 * 45 + 0.3 * 135 + 0.5 * 225
    assert bins.mean(bins.center[None], weights) == pytest.approx(expected, abs=1e-4)


def test_on_a_logarithmic_scale_bins_are_those_of_the_logarithms():
    """Whatever is asked, the answer is that of linear bins over log10 of everything."""
    linear, values = Bins(np.log10(UNEVEN_LOG.edges)), anywhere(UNEVEN_LOG)
    places, k = np.log10(values), UNEVEN_LOG.index(values)
    np.testing.assert_array_equal(k, linear.index(places))
    np.testing.assert_allclose(UNEVEN_LOG.offset(values, k), linear.offset(places, k), atol=1e-9)
    np.testing.assert_allclose(UNEVEN_LOG.offsets(values), linear.offsets(places), atol=1e-9)
    np.testing.assert_allclose(UNEVEN_LOG.center, 10**linear.center)
    np.testing.assert_allclose(UNEVEN_LOG.soft_targets(values, 0.25), linear.soft_targets(places, 0.25), atol=1e-9)
    np.testing.assert_allclose(UNEVEN_LOG.membership(values, 1.0), linear.membership(places, 1.0), atol=1e-9)
    np.testing.assert_allclose(UNEVEN_LOG.moved().edges, linear.moved().edges)
    weights = linear.soft_targets(places, 0.5)
    candidates = UNEVEN_LOG.candidates(linear.offsets(places))
    np.testing.assert_allclose(UNEVEN_LOG.mean(candidates, weights), 10 ** linear.mean(np.log10(candidates), weights))


def test_on_a_logarithmic_scale_edges_are_between_levels_as_factors():
    bins = Bins.uniform(0.1, 1000, 4, "log").between([0.1, 1, 10, 100, 1000])
    np.testing.assert_allclose(bins.edges, [0.1, 10**0.5, 10**1.5, 10**2.5, 1000])
    assert (LOG.edges[0], LOG.edges[-1]) == (0.01, 1000)


def test_no_reading_on_a_logarithmic_scale_is_negative():
    wild = np.array([[-1e6] * 5, [1e6] * 5, [0.0] * 5])
    read = LOG.mean(LOG.candidates(wild), np.full((3, 5), 0.2))
    assert read[0] == 0
    assert read[1] == np.inf  # which a check refuses
    assert read[2] == pytest.approx(10**0.5)


def test_bins_at_or_below_zero_have_no_logarithm():
    for edges in ([0, 1], [-1, 1]):
        with pytest.raises(ConfigError, match="above zero"):
            Bins(edges, "log")


def test_bins_on_another_scale_are_others():
    assert Bins([1, 2], "log") != Bins([1, 2])
    assert "log" in repr(Bins([1, 2], "log"))

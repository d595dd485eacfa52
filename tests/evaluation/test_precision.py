import numpy as np
import pytest
from scipy import stats

from twostage.evaluation.precision import _nested_squares, nested_precision

# CLSI EP05-A3, table A1: glucose, mg/dL; 20 days of two runs of two replicates
GLUCOSE = """
242 246 245 246 243 242 238 238 247 239 241 240 249 241 250 245 246 242 243 240 244 245 251 247 241 246 245 247 245 245
243 245 243 239 244 245 244 246 247 239 252 251 247 241 249 248 251 246 242 240 251 245 246 249 248 240 247 248 245 246
240 238 239 242 241 244 245 248 244 244 237 242 241 239 247 245 247 240 245 242"""
DAY, RUN = np.repeat(np.arange(20), 4), np.tile([1, 1, 2, 2], 20)


def of_sums_of_squares(mean, between, within, runs, replicates):
    """Values (runs * replicates,) with just these sums of squares."""
    rng = np.random.default_rng(0)
    outer = rng.normal(size=runs)
    inner = rng.normal(size=(runs, replicates))
    outer -= outer.mean()
    inner -= inner.mean(1, keepdims=True)
    outer *= np.sqrt(between / replicates / (outer**2).sum())
    inner *= np.sqrt(within / (inner**2).sum())
    return (mean + outer[:, None] + inner).ravel(), np.repeat(np.arange(runs), replicates)


def test_the_glucose_example_of_ep05():
    found = nested_precision(np.array(GLUCOSE.split(), float), {"day": DAY, "run": RUN})
    assert found.mean == pytest.approx(244.20, abs=0.005)
    assert list(found.variances) == ["day", "run", "repeatability"]
    assert list(found.variances.values()) == pytest.approx([1.959, 3.075, 7.900], abs=0.0005)
    assert found.repeatability.sd == pytest.approx(2.81, abs=0.005)
    assert found.within_laboratory.sd == pytest.approx(3.60, abs=0.005)
    assert found.within_laboratory.freedom == pytest.approx(64.8, abs=0.05)
    assert found.within_laboratory.cv == pytest.approx(100 * 3.596 / 244.2, abs=0.01)


def test_the_ferritin_example_of_ep15():
    """Made from its mean and sums of squares (between and within five runs of five), not from its readings."""
    values, run = of_sums_of_squares(140.12, 63.44, 63.20, 5, 5)
    found = nested_precision(values, {"run": run})
    assert found.mean == pytest.approx(140.12)
    assert found.mean_squares == pytest.approx({"run": 15.86, "repeatability": 3.16})
    assert found.variances == pytest.approx({"run": 2.54, "repeatability": 3.16})
    assert found.repeatability.sd == pytest.approx(1.78, abs=0.005)
    assert found.within_laboratory.sd == pytest.approx(2.39, abs=0.005)
    assert found.within_laboratory.freedom == pytest.approx(5.70**2 / (3.172**2 / 4 + 2.528**2 / 20), rel=1e-9)


def test_components_are_right_on_average_with_any_counts():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(800):
        day, run = rng.integers(0, 6, 60), rng.integers(0, 3, 60)
        values = rng.normal(0, 2, 6)[day] + rng.normal(0, 1.5, (6, 3))[day, run] + rng.normal(0, 1, 60)
        squares, expected, _ = _nested_squares(values, [day, run])
        found.append(np.linalg.solve(expected, squares))
    assert np.mean(found, 0) == pytest.approx([4, 2.25, 1], rel=0.12)


def test_sums_of_squares_are_those_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    groups = [rng.normal(0, 1, n) + n for n in (3, 4, 6)]
    values, of = np.concatenate(groups), np.repeat([0, 1, 2], [3, 4, 6])
    found = nested_precision(values, {"group": of}).mean_squares
    assert found["group"] / found["repeatability"] == pytest.approx(stats.f_oneway(*groups).statistic)


def test_the_interval_of_one_specimen_is_that_of_chi_square():
    values = np.random.default_rng(0).normal(10, 1, 12)
    found = nested_precision(values, {}).repeatability
    assert found.sd == pytest.approx(values.std(ddof=1))
    ends = np.sqrt(11 * values.var(ddof=1) / stats.chi2.ppf([0.975, 0.025], 11))
    assert found.interval == pytest.approx(ends)


def test_the_specimens_are_no_part_of_precision():
    rng = np.random.default_rng(0)
    specimen, day = np.repeat(np.arange(200), 4), np.tile([0, 0, 1, 1], 200)
    shift = 100.0 * np.arange(200)
    values = shift[specimen] + rng.normal(0, 2, (200, 2))[specimen, day] + rng.normal(0, 1, 800)
    found = nested_precision(values, {"specimen": specimen, "day": day}, between="specimen")
    assert found.repeatability.sd == pytest.approx(1, abs=0.15)
    assert found.within_laboratory.sd == pytest.approx(np.sqrt(5), abs=0.5)


def test_one_reading_a_day_has_a_within_laboratory_precision_only():
    found = nested_precision(np.array([1.0, 2.0, 4.0]), {"day": np.arange(3)})
    assert found.repeatability.sd is None
    assert "read twice" in found.repeatability.reason
    assert found.within_laboratory.sd == pytest.approx(np.std([1, 2, 4], ddof=1))


@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        ({"specimen": [0, 0, 1, 1], "day": [0, 0, 1, 1]}, "no specimen has more than one day"),
        ({"day": [0, 0, 0, 0]}, "there is only one day"),
    ],
)
def test_a_factor_without_repeats_is_named(factors, reason):
    found = nested_precision(np.array([1.0, 2, 5, 6]), factors, between="specimen")
    assert found.within_laboratory.reason == reason
    assert found.repeatability.sd is not None


def test_no_percent_of_a_mean_at_or_below_zero_and_no_interval_of_no_scatter():
    found = nested_precision(np.array([-1.0, 1.0, -2.0]), {}).repeatability
    assert (found.cv, found.cv_interval) == (None, None)
    assert "not above zero" in found.reason
    assert nested_precision(np.ones(4), {}).repeatability.sd == 0
    assert nested_precision(np.ones(4), {}).repeatability.interval is None

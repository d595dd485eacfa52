"""Leaving out each specimen in closed form is what leaving it out and solving again would give."""

import numpy as np
import pytest

from twostage.stages.left_out import few_rows, solve_left_out


def specimens(seed, counts, columns=5):
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"s{i}" for i in range(len(counts))], counts)
    true = rng.normal(size=(len(counts), columns))
    order = rng.permutation(len(groups))
    rows = np.repeat(true, counts, axis=0) + 0.1 * rng.normal(size=(len(groups), columns))
    values = 5 + rows[:, 0] * 3 - rows[:, -1] + np.repeat(rng.normal(size=len(counts)), counts)
    return rows[order], values[order], groups[order]


def solved_without(columns, values, groups, strength, one):
    """Weighted ridge regression of all specimens but one, by the normal equations."""
    count = np.array([(groups == g).sum() for g in groups])
    weight = (1 / count) / np.mean(1 / count)
    mean = weight @ columns / weight.sum()
    scale = np.sqrt(weight @ (columns - mean) ** 2 / weight.sum())
    standard = np.column_stack([(columns - mean) / scale, np.ones(len(values))])
    penalty = np.array([columns.shape[1] / strength] * columns.shape[1] + [1e-4])
    kept = groups != one
    middle = weight @ values / weight.sum()
    left = standard[kept].T * weight[kept]
    slope = np.linalg.solve(left @ standard[kept] + np.diag(penalty), left @ (values - middle)[kept])
    return middle + standard[~kept] @ slope


@pytest.mark.parametrize("seed", range(4))
def test_each_specimen_is_read_as_by_the_solution_without_it(seed):
    columns, values, groups = specimens(seed, [3, 1, 5, 2, 4, 2, 6])
    found = solve_left_out(columns, values, groups)
    for one in np.unique(groups):
        expected = solved_without(columns, values, groups, found.strength, one)
        np.testing.assert_allclose(found.estimate[groups == one], expected, rtol=1e-4, atol=1e-4)


def test_the_solution_is_that_of_all_specimens():
    columns, values, groups = specimens(2, [3, 1, 5, 2, 4])
    found = solve_left_out(columns, values, groups)
    (solution,) = found.solution
    read = columns @ solution[:-1] + solution[-1]
    assert np.sqrt(np.mean((read - values) ** 2)) < found.rmse


def test_specimens_count_the_same_however_often_they_were_photographed():
    columns, values, groups = specimens(0, [3] * 8)
    again = np.concatenate([np.arange(24), np.tile(np.flatnonzero(groups == "s2"), 20)])
    few, many = (solve_left_out(columns[r], values[r], groups[r]) for r in (np.arange(24), again))
    np.testing.assert_allclose(few.rmse, many.rmse, rtol=0.05)


def test_of_the_nearly_best_the_firmest_is_taken():
    """Of thirty columns of noise beside five true ones little is let in."""
    rng = np.random.default_rng(1)
    columns, values, groups = specimens(1, [4] * 12)
    noise = rng.normal(size=(48, 30))
    alone = solve_left_out(columns, values, groups)
    both = solve_left_out(np.column_stack([columns, noise]), values, groups)
    assert both.strength <= alone.strength * 30
    fresh = rng.normal(size=(200, 35))
    new, old = (fresh[:, : one.solution.shape[1] - 1] @ one.solution[0, :-1] for one in (both, alone))
    assert np.std(new - old) < values.std()


@pytest.mark.parametrize(("counts", "most"), [([10, 4, 7], 9), ([1] * 30, 10), ([500, 2], 100), ([3, 3], 600)])
def test_few_rows_are_spread_over_all_specimens(counts, most):
    groups = np.repeat(np.arange(len(counts)), counts)
    rows = few_rows(groups, most)
    assert len(rows) <= max(most, len(counts))
    assert set(groups[rows]) == set(range(len(counts)))
    if most >= len(groups):
        assert len(rows) == len(groups)
    for one in range(len(counts)):
        mine = np.flatnonzero(groups == one)
        kept = rows[np.isin(rows, mine)]
        assert kept[-1] - kept[0] >= 0.5 * (len(mine) - 1) or len(kept) == 1

"""A sealed test set: the one that a run would open, and nothing of it is in any other part."""

import numpy as np
import pytest
from helpers import TINY, one_line

from twostage.data.sealed import SEALED, split_sealed
from twostage.data.splits import split_table
from twostage.errors import DataError
from twostage.tables.table import Table

SHARES = {"validation": 0.15, "calibration": 0.1, "test": 0.2}


def grouped(seed, groups=30):
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.repeat([f"g{i}" for i in range(groups)], rng.integers(1, 6, groups)))
    days = np.where(np.isin(names, ["g1", "g2", "g3"]), "tue", "mon")
    return Table([f"p{i}" for i in range(len(names))], [], rng.uniform(80, 350, len(names)), names, {"day": days})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("named", [{}, {"test_column": "day", "test_values": ["tue"]}], ids=["drawn", "named"])
def test_it_is_the_test_set_of_the_same_options(seed, named):
    table = grouped(seed)
    usual = split_table(table, **SHARES, seed=seed, **named)
    sealed = split_sealed(table, **SHARES, seed=seed, folds=None, fold=0, **named)
    np.testing.assert_array_equal(np.where(usual == "test", SEALED, usual), sealed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("named", [{}, {"test_column": "day", "test_values": ["tue"]}], ids=["drawn", "named"])
def test_folds_are_of_the_photographs_for_training_and_validation(seed, named):
    table, tested = grouped(seed), []
    usual = split_table(table, **SHARES, seed=seed, **named)
    for fold in range(3):
        parts = split_sealed(table, **SHARES, seed=seed, folds=3, fold=fold, **named)
        np.testing.assert_array_equal(parts == SEALED, np.isin(usual, ["test", "calibration"]))
        assert set(parts) == {SEALED, "train", "validation", "test"}
        for group in np.unique(table.groups):
            assert len(set(parts[table.groups == group])) == 1
        tested.append(parts == "test")
    np.testing.assert_array_equal(np.sum(tested, axis=0), parts != SEALED)


def test_too_few_groups_for_the_folds_are_told():
    with pytest.raises(DataError, match=r"fewer than split\.folds=40"):
        split_sealed(grouped(0), **SHARES, seed=0, folds=40, fold=0)


def test_a_run_whose_test_set_is_sealed_tells_the_validation_rmse_alone(here, once):
    status, out, err = once("train", *TINY, "method=direct", "train.epochs=2", "split.sealed=true", "run=a")
    assert status == 0, err
    assert "The test set is closed" in out
    folder = here / "outputs/a"
    assert "rmse_validation" in (folder / "metrics.json").read_text()
    assert SEALED in (folder / "splits.csv").read_text()
    assert not (folder / "predictions.csv").exists()
    assert not (folder / "test_openings.json").exists()


@pytest.mark.parametrize("options", [["train.final=all"], ["train.final=folds"]])
def test_no_test_set_can_be_sealed_where_there_is_none(here, run, options):
    one_line(run("train", *TINY, "split.sealed=true", "run=a", *options), "split.sealed=true", "leave one out")


def test_who_judges_by_a_test_set_needs_it(here, run):
    one_line(
        run("learning-curve", *TINY, "split.sealed=true", "run=a"), "split.sealed=true keeps closed", "leave it out"
    )

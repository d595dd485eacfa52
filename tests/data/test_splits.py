from collections import Counter
from dataclasses import replace
from io import StringIO
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from twostage.data.splits import UNUSED, fold_numbers, said_of_validation, split_table, splits_table
from twostage.errors import DataError
from twostage.tables.parts import PARTS
from twostage.tables.table import Table

SHARES = {"validation": 0.15, "calibration": 0.1, "test": 0.2}


def make_table(count=400, groups=None, **columns):
    images = [f"p{i:03d}.png" for i in range(count)]
    groups = None if groups is None else np.array(groups)
    return Table(images, [], np.arange(count, dtype=float), groups, {k: np.array(v) for k, v in columns.items()})


def split(table, seed=0, **changes):
    return split_table(table, **{**SHARES, **changes}, seed=seed)


def grouped(seed=0, groups=60):
    """Groups of 1 to 12 photographs, shuffled."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"g{i}" for i in range(groups)], rng.integers(1, 13, groups))
    return make_table(len(names), groups=rng.permutation(names))


@pytest.mark.parametrize("seed", range(5))
def test_every_photograph_is_in_one_part_and_shares_are_right(seed):
    parts = split(make_table(), seed)
    assert parts.shape == (400,)
    assert set(parts) == set(PARTS)
    count = Counter(parts.tolist())
    for part, share in {**SHARES, "train": 0.55}.items():
        assert count[part] == pytest.approx(400 * share, abs=2), part


@pytest.mark.parametrize("make", [make_table, grouped], ids=["photographs", "groups"])
def test_same_seed_same_split_other_seed_other_split(make):
    np.testing.assert_array_equal(split(make(), 3), split(make(), 3))
    first, second = split(make(), 3), split(make(), 4)
    for part in PARTS:
        assert ((first == part) != (second == part)).any(), part


def test_parts_are_drawn_at_random_over_the_table():
    parts = split(make_table())
    for part in PARTS:
        assert np.flatnonzero(parts == part).mean() == pytest.approx(200, abs=45), part


@pytest.mark.parametrize("seed", range(5))
def test_groups_never_straddle(seed):
    table = grouped(seed)
    parts = split(table, seed)
    for group in np.unique(table.groups):
        assert len(set(parts[table.groups == group])) == 1
    share_of_groups = Counter(dict(zip(table.groups.tolist(), parts.tolist(), strict=True)).values())
    for part, share in SHARES.items():
        assert share_of_groups[part] == pytest.approx(60 * share, abs=2), part


def in_blocks(blocks=14):
    """Blocks of 3 to 9 groups, and these of 1 to 12 photographs."""
    table = grouped()
    names, of = np.unique(table.groups, return_inverse=True)
    block_of = np.sort(np.arange(len(names)) % blocks)
    return replace(table, blocks=np.array([f"b{block_of[i]}" for i in of]))


CUTS = [{}, {"folds": 5, "fold": 2}, {"train_share": 0.5}, {"test": 0.0}]


@pytest.mark.parametrize("changes", CUTS, ids=str)
def test_blocks_never_straddle_though_each_is_several_groups(changes):
    table = in_blocks()
    for seed in range(3):
        parts = split(table, seed, **changes)
        for block in np.unique(table.blocks):
            assert len(set(parts[table.blocks == block])) == 1
    assert len(np.unique(table.groups)) > len(np.unique(table.blocks))


def test_a_table_keeps_its_blocks_and_splits_csv_tells_them():
    table = in_blocks()
    rows = np.array([3, 1])
    np.testing.assert_array_equal(table.select(rows).blocks, table.blocks[rows])
    written = pd.read_csv(StringIO(splits_table(table, split(table), [], {})))
    np.testing.assert_array_equal(written["block"], table.blocks)
    assert "block" not in splits_table(grouped(), split(grouped()), [], {})


def test_test_values_that_cut_a_block_are_refused():
    table = in_blocks()
    whole = table.groups == table.groups[0]
    table = replace(table, columns={"day": np.where(whole, "mon", "tue")})
    with pytest.raises(DataError, match="1 groups lie in more than one part"):
        split(table, test_column="day", test_values=["mon"])


def test_calibration_may_be_zero():
    parts = split(make_table(), calibration=0.0)
    assert set(parts) == {"train", "validation", "test"}
    assert (parts == "validation").sum() == pytest.approx(60, abs=2)


def test_there_may_be_no_test_set():
    parts = split(make_table(), test=0.0)
    assert set(parts) == {"train", "validation", "calibration"}
    assert (split(make_table(), test=0.0, folds=5, fold=1) == "test").sum() == 80


@pytest.mark.parametrize("groups", [False, True])
def test_fold_numbers_are_the_test_sets_of_all_folds(groups):
    table = grouped() if groups else make_table()
    numbers = fold_numbers(table.targets, table.groups, 4, seed=7)
    for fold in range(4):
        tested = split(table, seed=7, folds=4, fold=fold) == "test"
        np.testing.assert_array_equal(numbers == fold, tested)
    with pytest.raises(DataError, match="are fewer than split"):
        fold_numbers(table.targets, table.groups, 1000)


@pytest.mark.parametrize("groups", [False, True])
def test_what_a_fold_leaves_is_split_alike_alone(groups):
    """Shares of what is left draw the very rows, so that training on it elsewhere gives the same networks."""
    table = grouped() if groups else make_table()
    shares = {"validation": 0.125, "calibration": 0.125, "test": 0.125}
    for fold in range(5):
        parts = split_table(table, **shares, seed=3, folds=5, fold=fold)
        left = parts != "test"
        alone = split_table(table.select(left), validation=0.125 / 0.8, calibration=0.125 / 0.8, test=0.0, seed=3)
        np.testing.assert_array_equal(alone, parts[left])


def test_few_photographs_still_fill_every_part():
    assert set(split(make_table(8), validation=0.01, calibration=0.01, test=0.01)) == set(PARTS)


def test_split_column_words_and_aliases():
    words = ["train", "Training", "TRAIN", "val", "valid", "Validation", "cal", "calibration", "test", "Test"]
    parts = split(make_table(10, part=words), split_column="part")
    assert parts.tolist() == ["train"] * 3 + ["validation"] * 3 + ["calibration"] * 2 + ["test"] * 2


def test_split_column_with_an_unknown_word_is_refused():
    with pytest.raises(DataError, match=r"'part' holds holdout, x; allowed are train, validation, calibration, test"):
        split(make_table(4, part=["train", "x", "holdout", "test"]), split_column="part")


@pytest.mark.parametrize("lacking", ["train", "test"])
def test_split_column_without_a_part_is_refused(lacking):
    words = [word for word in ["train", "validation", "calibration", "test"] if word != lacking]
    with pytest.raises(DataError, match=f"the {lacking} set is empty .*write {lacking} into rows of column 'part'"):
        split(make_table(3, part=words), split_column="part")


def test_without_a_word_for_validation_it_is_drawn_from_the_training_rows():
    parts = split(make_table(100, part=["train"] * 60 + ["test"] * 40), split_column="part")
    assert (parts[60:] == "test").all()
    assert (parts[:60] != "test").all()
    assert 5 < (parts == "validation").sum() < 20
    assert 5 < (parts == "calibration").sum() < 20


def test_a_column_without_a_word_for_validation_is_told():
    table = make_table(3, part=["train", "train", "test"], whole=["train", "val", "test"])
    assert "it is drawn from those for training" in said_of_validation(table, "part")[0]
    assert said_of_validation(table, "whole") == said_of_validation(table, None) == []


def test_a_test_value_is_also_found_as_a_number():
    dose = ["1,000 ppm", "2,000 ppm", "500 ppm", "0 ppm"] * 25
    for value in ("1000", "1,000", "1000 ppm"):
        parts = split(make_table(100, dose=dose), test_column="dose", test_values=[value, "0.0"])
        assert set(np.flatnonzero(parts == "test") % 4) == {0, 3}
    with pytest.raises(DataError, match="'1001' is not in column 'dose'"):
        split(make_table(100, dose=dose), test_column="dose", test_values=["1001"])


def test_split_column_with_straddling_groups_is_refused():
    table = make_table(
        5, groups=["a", "b", "c", "c", "d"], part=["train", "validation", "test", "train", "calibration"]
    )
    with pytest.raises(DataError, match=r"1 groups .*: c \(p002\.png in test, p003\.png in train\);"):
        split(table, split_column="part")


def test_test_values_are_exactly_the_test_set_whatever_the_seed():
    days = np.array(["mon", "tue", "wed", "thu"] * 50)
    rest = []
    for seed in range(3):
        parts = split(make_table(200, day=days), seed, test_column="day", test_values=["tue", "thu"])
        np.testing.assert_array_equal(parts == "test", (days == "tue") | (days == "thu"))
        # shares are of the rows that are not in the test set
        assert (parts == "validation").sum() == pytest.approx(100 * SHARES["validation"], abs=1)
        assert (parts == "calibration").sum() == pytest.approx(100 * SHARES["calibration"], abs=1)
        rest.append(parts.tolist())
    assert rest[0] != rest[1]


def test_test_values_that_cut_a_group_are_refused():
    table = make_table(40, groups=[f"g{i // 4}" for i in range(40)], day=["mon"] * 38 + ["tue"] * 2)
    with pytest.raises(DataError, match=r"1 groups lie in more than one part of the split: g9 \(p.*\);"):
        split(table, test_column="day", test_values=["tue"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["tues"], "'tues' is not in column 'day'; did you mean tue"),
        (["mon", "2023-06-14"], "'2023-06-14' is not in column 'day'; allowed: mon, tue"),
        ([], r"split\.column=day needs split\.test_values=\[\.\.\.\]; it holds mon, tue"),
        (None, r"needs split\.test_values"),
        (["mon", "tue"], "covers every row"),
    ],
    ids=["near", "far", "empty", "none", "all"],
)
def test_bad_test_values_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        split(make_table(20, day=["mon", "tue"] * 10), test_column="day", test_values=values)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_too_few_groups_are_refused(groups):
    with pytest.raises(DataError, match="too few groups"):
        split(make_table(30, groups=[f"g{i % groups}" for i in range(30)]))
    assert set(split(make_table(30, groups=[f"g{i % 4}" for i in range(30)]))) == set(PARTS)


def test_too_few_photographs_are_refused():
    with pytest.raises(DataError, match="too few photographs"):
        split(make_table(3))


@pytest.mark.parametrize(
    "shares",
    [{"validation": 0.5, "calibration": 0.3, "test": 0.2}, {"validation": 0.1, "calibration": 0.2, "test": 0.9}],
)
def test_shares_that_leave_nothing_to_train_on_are_refused(shares):
    with pytest.raises(DataError, match="leave nothing to train on"):
        split(make_table(), **shares)


def test_shares_that_leave_nothing_are_refused_with_a_test_column_too():
    table = make_table(100, day=["mon", "tue"] * 50)
    with pytest.raises(DataError, match="leave nothing"):
        split(table, validation=0.5, calibration=0.5, test_column="day", test_values=["tue"])


@pytest.mark.parametrize("skipped", [{}, {"bad, very.png": "cut, off", "NA": "missing"}], ids=["whole", "skipped"])
@pytest.mark.parametrize("with_groups", [False, True])
def test_written_splits_read_back(skipped, with_groups):
    table = grouped() if with_groups else make_table()
    parts = split(table)
    frame = pd.read_csv(StringIO(splits_table(table, parts, [], skipped)), keep_default_na=False, dtype=str)
    assert frame["split"][: len(table)].tolist() == parts.tolist()
    assert len(frame) == len(table) + len(skipped)
    assert frame["image"].tolist() == [*table.images, *skipped]
    assert [float(cell) for cell in frame["target"][: len(table)]] == table.targets.tolist()
    if with_groups:
        assert frame["group"][: len(table)].tolist() == table.groups.tolist()
    if skipped:
        assert frame["split"][len(table) :].tolist() == ["skipped"] * 2
        assert frame["reason"][len(table) :].tolist() == list(skipped.values())


@pytest.mark.parametrize("make", [make_table, grouped], ids=["photographs", "groups"])
def test_a_share_of_the_training_photographs_is_nested_and_moves_nothing_else(make):
    table, shares = make(), (0.1, 0.25, 0.6, 1.0)
    found = [split(table, 5, train_share=share) for share in shares]
    whole = found[-1]
    np.testing.assert_array_equal(whole, split(table, 5))
    for fewer, more in pairwise(found):
        assert set(np.flatnonzero(fewer == "train")) < set(np.flatnonzero(more == "train"))
    owners = np.arange(len(table)) if table.groups is None else table.groups
    for parts, share in zip(found, shares, strict=True):
        np.testing.assert_array_equal(np.where(parts == UNUSED, "train", parts), whole)
        used, all_of_them = (len(np.unique(owners[which == "train"])) for which in (parts, whole))
        assert used == round(share * all_of_them)
        assert not set(owners[parts == "train"]) & set(owners[parts == UNUSED])
    assert (split(table, 5, train_share=0.5) != split(table, 6, train_share=0.5)).any()


def test_a_share_of_too_few_groups_is_refused():
    table = make_table(40, groups=[f"g{i // 4}" for i in range(40)])
    with pytest.raises(DataError, match=r"train_share=0\.1 of \d training groups leaves [01]: choose at least 0\.\d+"):
        split(table, train_share=0.1)
    with pytest.raises(DataError, match="training photographs leaves 0"):
        split(make_table(30), train_share=0.01)

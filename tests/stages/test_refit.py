import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TINY, few
from safetensors.torch import load_file

from twostage import Bins, load_config, train
from twostage.data.simulated import render_photographs, sample_targets
from twostage.model_folder import load_model
from twostage.stages.build import build_classifier, build_regressor
from twostage.stages.refit import PENALTIES, Seen, ridge
from twostage.stages.regressor import Regressor

SMALL = [
    "image.size=32",
    "backbone.widths=[4,6]",
    "backbone.strides=[2,2]",
    "backbone.dilations=[1,1]",
    "regressor.overlap=0.5",
]
BINS = Bins.uniform(80, 350, 4)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def regressor(bins=BINS):
    return build_regressor(load_config([*SMALL, "pooling=mean"]), bins).eval()


def seen(law, count=400, seed=0):
    """Photographs whose pooled vectors, 6 numbers, tell their concentration by `law` of the first two."""
    pooled = random(count, 6, seed=seed)
    return Seen(pooled, law(pooled[:, 0], pooled[:, 1]))


def linear(first, second):
    return 215 + 40 * first - 8 * second


def bent(first, second):
    """Another slope in `second` above the middle of the range: linear within bins, not over all."""
    base = 215 + 40 * first
    return base + 3 * second * np.where(base > 215, 1, -1)


def rmse(model, bins, photos):
    with torch.no_grad():
        offsets = model.read(torch.from_numpy(photos.pooled).float())[0].double().numpy()
    inside = bins.index(photos.concentration)
    found = bins.concentration(inside, offsets[np.arange(len(inside)), inside])
    return np.sqrt(np.mean((found - photos.concentration) ** 2))


def test_ridge_without_penalty_is_weighted_least_squares():
    columns, values, weight = random(50, 4), random(50, seed=1), np.random.default_rng(2).uniform(0.1, 1, 50)
    root = np.sqrt(weight)[:, None]
    expected = np.linalg.lstsq(np.c_[columns, np.ones(50)] * root, values * root[:, 0], rcond=None)[0]
    np.testing.assert_allclose(ridge(columns, values, weight, (0.0,))[0], expected, rtol=1e-9)


def test_ridge_penalty_means_the_same_in_every_unit():
    columns, values, weight = random(50, 3), random(50, seed=1), np.ones(50)
    unit = np.array([1.0, 1e3, 1e-2])
    one, other = (ridge(c, values, weight, (0.1,))[0] for c in (columns, columns * unit))
    np.testing.assert_allclose(other[:-1] * unit, one[:-1], rtol=1e-9)


def test_ridge_of_a_large_penalty_is_the_mean():
    columns, values = random(50, 3), random(50, seed=1)
    found = ridge(columns, values, np.ones(50), (1e12,))[0]
    np.testing.assert_allclose(found, [0, 0, 0, values.mean()], atol=1e-9)


def test_a_column_that_never_changes_says_nothing():
    columns = np.c_[random(50, 2), np.full(50, 7.0)]
    with_it, without = (ridge(c, random(50, seed=1), np.ones(50), (1e-3,))[0] for c in (columns, columns[:, :2]))
    assert with_it[2] == 0
    np.testing.assert_allclose(with_it[[0, 1, 3]], without, rtol=1e-9)


@pytest.mark.parametrize("bins", [BINS, Bins([80, 350])], ids=["four bins", "one bin"])
def test_a_linear_law_is_found(bins):
    model, fresh = regressor(bins), seen(linear, seed=2)
    with torch.no_grad():  # as training leaves them: of another estimate
        model.corrections.weight.add_(3.0)
    before, after = model.refit(seen(linear), seen(linear, 50, seed=1))
    assert before > 10
    assert after < 1e-2
    assert rmse(model, bins, fresh) < 1e-2


def test_bins_find_a_law_that_is_linear_only_within_them():
    one, four = Bins([80, 350]), BINS
    error = {}
    for bins in (one, four):
        model = regressor(bins)
        model.refit(seen(bent, 2000), seen(bent, 500, seed=1))
        error[bins.count] = rmse(model, bins, seen(bent, 500, seed=2))
    assert error[4] < 0.7 * error[1]


@pytest.mark.parametrize(("specimens", "corrected"), [(None, True), (400, True), (8, False)])
def test_a_bin_of_fewer_specimens_than_columns_is_not_corrected(specimens, corrected):
    model, photos = regressor(), seen(bent, 2000)
    if specimens:  # alike in concentration, as photographs of one specimen are
        groups = np.empty(2000, int)
        groups[np.argsort(photos.concentration)] = np.arange(2000) * specimens // 2000
        photos = Seen(photos.pooled, photos.concentration, groups)
    model.refit(photos, seen(bent, 500, seed=1))
    assert bool(model.corrections.weight.any()) == corrected


def test_what_is_no_better_on_validation_is_not_kept():
    model = regressor()
    model.refit(seen(linear), seen(linear, 50, seed=1))
    known = {name: value.clone() for name, value in model.state_dict().items()}
    misleading = seen(lambda first, second: 215 - 40 * second)
    before, after = model.refit(misleading, seen(linear, 50, seed=1))
    assert after == before
    assert all(torch.equal(value, known[name]) for name, value in model.state_dict().items())


def test_without_anything_to_learn_in_bins_corrections_are_small():
    model = regressor()
    noise = 5 * random(60, seed=3)
    photos = Seen(random(60, 6), 215 + noise)
    model.refit(photos, Seen(random(60, 6, seed=1), 215 + 5 * random(60, seed=4)))
    assert rmse(model, BINS, Seen(random(200, 6, seed=5), 215 + 5 * random(200, seed=6))) < 5.7


def test_what_hardly_differs_within_a_bin_gets_no_steep_slope():
    """It would explain the bin, and say thousands of photographs outside."""
    inside, values = np.arange(200) < 40, random(200)
    column = np.where(inside, 5, -5) + 1e-3 * values
    assert abs(ridge(column[:, None], values, inside.astype(float), (1e-5,))[0, 0]) < 10


def test_penalties_go_from_next_to_nothing_to_heavy():
    assert list(PENALTIES) == sorted(PENALTIES)
    assert PENALTIES[0] < 1e-6
    assert PENALTIES[-1] > 1


def test_a_run_solves_its_last_layer(here, run):
    tiny = [
        *SMALL,
        "method=direct",
        "data.count=120",
        "bins.count=3",
        "train.epochs=4",
        "runtime.progress=false",
        "combine.views=1",
    ]
    weights, metrics = {}, {}
    for name in ("true", "false"):
        assert run("train", *tiny, f"train.refit={name}", f"run=refit_{name}")[0] == 0
        weights[name] = load_file(here / "outputs" / f"refit_{name}" / "model" / "regressor.safetensors")
        metrics[name] = json.loads((here / "outputs" / f"refit_{name}" / "metrics.json").read_text())["rmse"]
    assert metrics["true"] < 0.7 * metrics["false"]
    folder = here / "outputs/refit_true"
    solved = json.loads((folder / "regressor/refit.json").read_text())
    epochs = pd.read_csv(folder / "regressor/history.csv")["seconds"].sum()
    assert solved["error"] < solved["before"]
    assert json.loads((folder / "metrics.json").read_text())["train_seconds"] == pytest.approx(
        epochs + solved["seconds"]
    )


@pytest.mark.parametrize(
    ("options", "later"),
    [
        ([], True),
        (["train.refit=false"], False),
        (["train.patience=3"], False),
        (["image.size=256", "pooling=flatten"], False),
    ],
)
def test_a_common_error_is_left_to_solving_where_there_is_solving(here, monkeypatch, options, later):
    asked = []

    def stop(stage, *_):
        asked.append(stage.solved_later)
        raise KeyboardInterrupt

    monkeypatch.setattr("twostage.run.stage.fit", stop)
    with pytest.raises(KeyboardInterrupt):
        train(load_config([*SMALL, "data.count=60", "method=direct", "run=a", *options]))
    assert asked == [later]


def classifier():
    return build_classifier(load_config([*SMALL, "pooling=mean"]), BINS).eval()


def test_a_classifier_learns_a_linear_law_and_its_own_spread():
    model, fresh = classifier(), seen(linear, seed=2)
    with torch.no_grad():
        model.corrections.bias.add_(torch.tensor([3.0, 0.0, 0.0, -3.0]))
    before, after = model.refit(seen(linear), seen(linear, 50, seed=1))
    assert after < 0.5 * before
    with torch.no_grad():
        found = model.read(torch.from_numpy(fresh.pooled).float()).softmax(1).double().numpy()
    np.testing.assert_allclose(found, BINS.soft_targets(fresh.concentration, model.smoothing), atol=0.01)


def test_a_classifier_that_is_no_better_keeps_its_weights():
    model = classifier()
    model.refit(seen(linear), seen(linear, 50, seed=1))
    known = {name: value.clone() for name, value in model.state_dict().items()}
    before, after = model.refit(seen(lambda a, b: 215 - 40 * b), seen(linear, 50, seed=1))
    assert after == before
    assert all(torch.equal(value, known[name]) for name, value in model.state_dict().items())


def turning(count, seed):
    """Pooled vectors that go nearly a full turn over the range: no linear function of them rises throughout."""
    rng = np.random.default_rng(seed)
    pooled, place = rng.standard_normal((count, 6)), rng.uniform(80, 350, count)
    pooled[:, 0], pooled[:, 1] = np.sin((place - 215) / 45), np.cos((place - 215) / 45)
    return Seen(pooled, place)


@pytest.mark.slow
def test_a_run_judges_corrections_by_what_its_classifier_will_say(here, monkeypatch):
    asked, refit = [], Regressor.refit
    monkeypatch.setattr(Regressor, "refit", lambda stage, *seen: asked.append(seen) or refit(stage, *seen))
    train(load_config([*SMALL, *TINY, "combine.views=8", "run=two"]))
    train(load_config([*SMALL, *TINY, "method=direct", "run=one"]))
    (photos, validation), (_, alone) = asked
    assert photos.probabilities is None
    assert alone.probabilities is None
    rows = pd.read_csv(here / "outputs/two/splits.csv")["split"] == "validation"
    pixels = render_photographs(sample_targets(60, 80, 350, "uniform", 0), 32, 0)[rows.to_numpy()]
    model = load_model(here / "outputs/two/model", torch.device("cpu")).network
    np.testing.assert_allclose(validation.probabilities, model.read(pixels).probabilities, atol=1e-5)


def test_bins_that_are_not_heard_may_say_anything():
    photos, validation, fresh = turning(2000, 0), turning(500, 1), turning(500, 2)
    model, one = regressor(), Bins([80, 350])
    model.refit(photos, replace(validation, probabilities=BINS.soft_targets(validation.concentration, 0.05)))
    alone = regressor(one)
    alone.refit(photos, validation)
    assert rmse(model, BINS, fresh) < 0.3 * rmse(alone, one, fresh)


def test_what_a_bin_says_is_judged_by_how_far_it_is_heard():
    """A classifier that cannot tell the bins apart makes a mixture of all, of which most say anything."""
    photos, validation, fresh = turning(2000, 0), turning(500, 1), turning(500, 2)
    truth, error = np.eye(4)[BINS.index(validation.concentration)], {}
    for name, heard in (("true bin", truth), ("all", np.full((500, 4), 0.25))):
        model = regressor()
        model.refit(photos, replace(validation, probabilities=heard))
        with torch.no_grad():
            said = BINS.candidates(model.read(torch.from_numpy(fresh.pooled).float())[0].double().numpy())
        error[name] = np.sqrt(np.mean((said.mean(1) - fresh.concentration) ** 2))
    assert error["all"] < 0.9 * error["true bin"]


@pytest.mark.parametrize(("nearly", "views"), few([(1e9, "1")], [(0.0, "8"), (1e9, "1")]))
def test_one_view_is_taken_where_it_is_read_nearly_as_well(here, monkeypatch, nearly, views):
    monkeypatch.setattr("twostage.run.stage.NEARLY", nearly)
    for name, asked in (("auto", "auto"), ("told", views)):
        train(load_config([*SMALL, *TINY, f"combine.views={asked}", f"run={name}"]))
    model, told = (load_model(here / "outputs" / name, torch.device("cpu")) for name in ("auto", "told"))
    assert model.config.combine.views == views
    assert json.loads((here / "outputs/auto/regressor/refit.json").read_text())["views"] == int(views)
    pixels = render_photographs(sample_targets(20, 80, 350, "uniform", 3), 32, 3)
    said, wanted = (one.network.read(pixels, views=one.config.views) for one in (model, told))
    np.testing.assert_allclose(said.offsets, wanted.offsets, atol=1e-4)


def test_a_last_layer_that_is_not_solved_is_read_with_all_views(here):
    train(load_config([*SMALL, *TINY, "combine.views=auto", "train.refit=false", "run=plain"]))
    assert load_model(here / "outputs/plain", torch.device("cpu")).config.combine.views == "8"

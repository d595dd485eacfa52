"""Outcomes of runs that never were, and the pages that report them."""

import numpy as np
import pandas as pd

from twostage import Bins
from twostage.evaluation.metrics import regression_metrics, rmse
from twostage.report.facts import RunFacts
from twostage.report.outcome import Outcome, draw
from twostage.report.page import page

NASTY = "<b>x</b> & \"y\" 'z' $\\alpha$ ü"


def some_outcome(
    count=60, bins=6, unit="µg/L", groups=True, direct=False, seed=0, scale="linear", intervals=True, period=None
):
    rng = np.random.default_rng(seed)
    grid = Bins.uniform(80, 350 if period is None else 80 + period, 1 if direct else bins, scale, period)
    target = rng.uniform(80, 350, count)
    probabilities = grid.soft_targets(target + rng.normal(0, 4, count), 0.25)
    by = {name: rng.normal(0, sd, count) for name, sd in (("mixture", 2), ("argmax", 3), ("top2", 2))}
    if scale == "log":
        by = {name: values / 200 for name, values in by.items()}
    predicted = grid.scale.shifted(target, by["mixture"])
    lower, upper = (grid.scale.shifted(predicted, np.full(count, d * np.std(by["mixture"]) + d)) for d in (-1.6, 1.6))
    return Outcome(
        unit=unit,
        scale=grid.scale,
        edges=grid.edges,
        target=target,
        predicted=predicted,
        error=by["mixture"],
        by_combination=by | {"oracle": rng.normal(0, 1.5, count)},
        probabilities=probabilities,
        bin_probabilities=grid.soft_targets(predicted, 0.1),
        lower=lower if intervals else np.full(count, np.nan),
        upper=upper if intervals else np.full(count, np.nan),
        confidence=0.9,
        crps=np.abs(by["mixture"]) / 2 if intervals else None,
        true_bin=grid.index(target),
        temperature=None if direct else 1.3,
        groups=np.array([f"g{i % 7} {NASTY}" for i in range(count)]) if groups else None,
        no_intervals="" if intervals else f"there are few specimens {NASTY}",
    )


def some_metrics(outcome):
    names = ("rmse", "rmse_mixture", "rmse_top2", "rmse_argmax", "rmse_oracle", "rmse_colour_baseline")
    decades = {f"{name}_decades": 0.01 for name in (*names, "rmse_mean_baseline", "bias")}
    return {
        **(decades if outcome.scale.name == "log" else {}),
        "method": "direct" if outcome.temperature is None else "two_stage",
        "combination": "mixture",
        "unit": outcome.unit,
        **regression_metrics(outcome.target, outcome.error, outcome.scale, angle=outcome.scale.period is not None),
        **{f"rmse_{name}": rmse(values) for name, values in outcome.by_combination.items()},
        "bin_accuracy": 0.9,
        "rmse_colour_baseline": 5.5,
        "rmse_mean_baseline": 78.0,
        **outcome.summary(),
        "statuses": {"ok": len(outcome.target), "unlike": 0, "refused": 1},
        "remarks": [f"60 test photographs say little {NASTY}"],
        "parameters": 123456,
        "train_seconds": 12.0,
        "images_per_second": 800.0,
    }


def some_facts(outcome, size=32, name=NASTY):
    count = len(outcome.target)
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    pixels = np.broadcast_to(noise, (count, size, size, 3))
    return RunFacts(
        run=name,
        date="2026-11-26 09:00",
        model="0123456789abcdef",
        source=f"60 photographs of {name}",
        metrics=some_metrics(outcome),
        images=[f"{name} {i}.png" for i in range(count)],
        pixels=pixels,
        remarks=[name] * count,
        refused=[(name, name)],
        split=name,
        parts=pd.DataFrame({"part": [name], "n": [3]}),
        changed={"bins.count": ("6", "9"), "data.table": (name, "-")},
        options={"bins.count": "6", "data.table": name},
        versions={"twostage": "1"},
        notes=[name],
    )


def some_histories(direct=False, epochs=5):
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "validation_rmse": 50.0 / epoch, "train_loss": 1.0 - epoch})
    table["best_rmse"] = table["validation_rmse"].cummin()
    return {"regressor": table} if direct else {"classifier": table, "regressor": table}


def some_page(outcome, **facts):
    direct = outcome.temperature is None
    return page(outcome, some_facts(outcome, **facts), draw(outcome, some_histories(direct)))

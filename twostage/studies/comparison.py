"""Comparison: several methods on the same splits, seeds and training time, ranked, with what may be chance."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.errors import ConfigError, RunError, suggest
from twostage.evaluation.baselines import BASELINES, color_statistics, on_scale
from twostage.evaluation.ranking import rank_methods, ranking_text
from twostage.options.backbones import backbone_config
from twostage.options.commands import BASELINE_METHODS, NETWORK_METHODS, CompareConfig
from twostage.options.flat import options_that_count
from twostage.options.run import Config, TrainConfig
from twostage.orchestrator import train
from twostage.report.study_figures import ranking_figure
from twostage.run.folder import RunFolder
from twostage.run.preparation import Prepared, prepare, spread
from twostage.run.start import try_networks
from twostage.scale import Scale, scale_of
from twostage.stages.build import build_limits
from twostage.studies.folder import as_run, check_runs, open_study, read_rows

__all__ = ["compare"]

log = logging.getLogger("twostage")

FINE_BINS = 60
FINE_SMOOTHING = 0.75
"""Standard deviation of the soft targets in bin widths, as Farebrother et al. 2024, "Stop regressing", recommend."""


@dataclass(frozen=True)
class _Network:
    """A training that a method reads: its folder's name, its options, and the combination that is the method."""

    folder: str
    options: dict[str, Any] = field(default_factory=dict)
    combination: str = "mixture"
    backbone: str = ""


FINE = {
    "method": "classifier",
    "bins.count": FINE_BINS,
    "bins.scheme": "uniform",
    "bins.edges": None,
    "bins.min_images": 0,
    "bins.min_groups": 0,
    "classifier.smoothing": FINE_SMOOTHING,
}

NETWORKS = {
    "direct": _Network("direct", {"method": "direct"}),
    "classifier": _Network("classifier", {"method": "classifier", "combine.method": "argmax"}, "argmax"),
    "fine_bins": _Network("fine_bins", FINE),
    "soft_bins": _Network("soft_bins", FINE | {"classifier.encoding": "soft_bins"}),
    "label_codes": _Network("label_codes", FINE | {"classifier.encoding": "codes"}),
    **{f"two_stage_{name}": _Network("two_stage", combination=name) for name in ("argmax", "top2", "mixture")},
}


def compare(config: CompareConfig) -> str:
    """Train every method of ``compare.methods`` on the same photographs, once per seed and fold, and rank them.

    A finished training is not repeated and a killed one goes on, so the same command completes what was interrupted;
    methods may be added to a finished comparison. Each training is a run of its own in the folder of this one.

    Returns:
        The ranking as lines of text; comparison.csv, comparison.json and predictions.csv (a row per photograph, a
        column per method) are in the run's folder.

    Raises:
        ConfigError: A method or a backbone is unknown, or options contradict the comparison.
        RunError: A training that is there was made with other options, or with other photographs or concentrations.
    """
    _check(config)
    study = open_study(config, "compare", free=("compare.methods",))
    folder = study.path
    rounds = [_of_round(config, seed, fold) for seed, fold in product(_seeds(config), range(config.split.folds or 1))]
    networks = {name: _network(name) for name in config.compare.methods if name not in BASELINE_METHODS}
    check_runs(study, [_of_study(rounds[0], study), *_trainings(config, rounds, networks)])
    for first in _trainings(config, rounds[:1], networks):
        try_networks(first, RunFolder.named(first.run))  # one that cannot be is said now, not after hours
    _announce(config, rounds, networks)
    found = pd.concat([_one_round(config, one, networks) for one in rounds], ignore_index=True)
    table = _ranked(found, config)
    table["seconds"] = [_seconds(config, rounds, networks.get(name)) for name in table.index]
    study.write(study.predictions, found.to_csv(index=False))
    study.write(folder / "comparison.csv", table.to_csv())
    study.write(folder / "comparison.png", ranking_figure(table, _unit(config)))
    study.write_json(folder / "comparison.json", _json(table, found, config))
    return _text(table, found, config, folder)


def _check(config: CompareConfig) -> None:
    for name in config.compare.methods:
        method, at, backbone = name.partition("@")
        if at and not backbone:
            raise ConfigError(f"compare.methods: '{name}' names no backbone after the @")
        known = NETWORK_METHODS if at else (*BASELINE_METHODS, *NETWORK_METHODS)
        if method not in known:
            raise ConfigError(f"compare.methods: '{name}' is not known: {suggest(method, known)}")
    if not config.compare.methods or len(set(config.compare.methods)) < len(config.compare.methods):
        raise ConfigError("compare.methods must name at least one method, and none of them twice")
    seeds = _seeds(config)
    if not seeds or len(set(seeds)) < len(seeds) or not 0 <= min(seeds) <= max(seeds) < 2**31:
        raise ConfigError(
            f"compare.seeds={seeds} must name at least one seed of 0..{2**31 - 1}, and none of them twice"
        )
    if config.method != Config.method:
        raise ConfigError(f"method={config.method}: compare trains what compare.methods names, leave method out")
    if config.train.minutes:
        raise ConfigError("train.minutes: compare.minutes is the training time of each method, give that")
    if config.train.epochs is not None and config.compare.minutes:
        raise ConfigError("train.epochs and compare.minutes exclude each other: compare.minutes=null leaves the epochs")
    if config.train.images != TrainConfig.images and config.compare.minutes:
        raise ConfigError(
            f"train.images={config.train.images} and compare.minutes exclude each other: compare.minutes=null lets the "
            f"number of photographs decide"
        )
    if config.split.fold:
        raise ConfigError(f"split.fold={config.split.fold}: compare goes through all split.folds, leave it out")


def _seeds(config: CompareConfig) -> list[int]:
    return [config.seed] if config.compare.seeds is None else config.compare.seeds


def _network(name: str) -> _Network:
    method, _, backbone = name.partition("@")
    network = NETWORKS[method]
    suffix = f"_{backbone}" if backbone else ""
    return _Network(network.folder + suffix, network.options, network.combination, backbone)


def _of_round(config: CompareConfig, seed: int, fold: int) -> Config:
    """The options of a seed and a fold; `run` is the name of the round."""
    one = as_run(config)
    one.seed, one.split.fold, one.train.minutes = seed, fold, config.compare.minutes
    one.run = f"seed_{seed}" + (f"_fold_{fold}" if config.split.folds else "")
    return one


def _of_study(first: Config, study: RunFolder) -> Config:
    """The options that gave the study's own splits.csv, for methods without a network leave none."""
    mine = copy.deepcopy(first)
    mine.run = str(study)
    return mine


def _of_network(one: Config, network: _Network, folder: str) -> Config:
    """The options of one training in a round."""
    mine = copy.deepcopy(one)
    mine.run = f"{folder}/{network.folder}/{one.run}"
    if mine.bins.edges:  # for those that lay other bins
        mine.bins.range = [mine.bins.edges[0], mine.bins.edges[-1]]
    for name, value in network.options.items():
        *path, last = name.split(".")
        part: Any = mine
        for key in path:
            part = getattr(part, key)
        setattr(part, last, value)
    if network.backbone and network.backbone != one.backbone.name:
        mine.backbone = backbone_config(network.backbone)
        mine.classifier.backbone = mine.regressor.backbone = None
    return mine


def _trainings(config: CompareConfig, rounds: list[Config], networks: dict[str, _Network]) -> list[Config]:
    """What there is to train, each once, though several methods may read it."""
    different = {network.folder: network for network in networks.values()}
    return [_of_network(one, network, config.run) for one in rounds for network in different.values()]


def _announce(config: CompareConfig, rounds: list[Config], networks: dict[str, _Network]) -> None:
    trainings = _trainings(config, rounds, networks)
    left = sum(not RunFolder.named(one.run).metrics.is_file() for one in trainings)
    minutes = config.compare.minutes
    each = f" of {minutes:g} minutes, in all about {left * minutes:.3g} minutes" if minutes and left else ""
    done = f" ({len(trainings) - left} more are finished already)" if left < len(trainings) else ""
    log.info("%d methods, %d rounds: %d trainings%s%s", len(config.compare.methods), len(rounds), left, done, each)


def _one_round(config: CompareConfig, one: Config, networks: dict[str, _Network]) -> pd.DataFrame:
    """The test photographs of one seed and fold, with the predictions of every method."""
    folders = {}
    for mine in _trainings(config, [one], networks):
        log.info("%s: %s", one.run, Path(mine.run).parent.name)
        train(mine)
        folders[Path(mine.run).parent.name] = RunFolder.named(mine.run)
    bare = copy.deepcopy(one)
    bare.method = "direct"  # the split does not depend on it, and no bins are laid that nobody asked for
    bare.start, bare.train.epochs = "none", None  # nor does it on what networks start from
    prepared = prepare(bare, RunFolder.named(config.run))
    if not prepared.folder.splits.is_file():
        prepared.folder.write(prepared.folder.splits, prepared.splits)
    for note in prepared.notes if not networks else ():  # else the trainings have said it
        log.warning("%s", note)
    table, rows = prepared.photos.table, prepared.part("test")
    frame = pd.DataFrame({"image": [table.images[i] for i in rows]})
    if table.groups is not None:
        frame["group"] = table.groups[rows]
    frame["seed"], frame["fold"], frame["target"] = one.seed, one.split.fold, table.targets[rows]
    baselines = [name for name in config.compare.methods if name in BASELINE_METHODS]
    frame = frame.assign(**_baselines(prepared, baselines))
    for name, network in networks.items():
        read = read_rows(folders[network.folder].combinations).set_index("image")
        frame[name] = read[network.combination].reindex(frame["image"]).to_numpy()
    return frame


def _baselines(prepared: Prepared, names: list[str]) -> dict[str, np.ndarray]:
    """Predictions of the test photographs by regressions over colour statistics."""
    if not names:
        return {}
    rows = spread(prepared.part("train"), 5000)
    known, unknown = (color_statistics(prepared.pixels(some)) for some in (rows, prepared.part("test")))
    targets, seed = prepared.photos.table.targets[rows], prepared.config.seed
    scale = prepared.bins.scale
    models = {name: on_scale(BASELINES[name](seed), scale).fit(known, scale.to(targets)) for name in names}
    limits = build_limits(prepared.config, prepared.bins)
    return {name: limits.cut(scale.back(model.predict(unknown))) for name, model in models.items()}


def _ranked(found: pd.DataFrame, config: CompareConfig) -> pd.DataFrame:
    """The ranking on the photographs that every method has read."""
    methods = config.compare.methods
    read = found.dropna(subset=methods)
    if read.empty:
        raise RunError("no test photograph was read by all methods: see the reports of the trainings")
    unit = read["group"] if "group" in read else read["image"]
    if config.data.drawn_by_seed:
        unit = read["seed"].astype(str) + "/" + unit
    table = rank_methods(read["target"].to_numpy(), _errors(read, methods, config), unit.to_numpy())
    return table.assign(n_refused=found[methods].isna().sum())


def _errors(read: pd.DataFrame, methods: list[str], config: CompareConfig) -> pd.DataFrame:
    """Errors on the scale, a column per method."""
    return read[methods].apply(_scale(config).error, target=read["target"])


def _seconds(config: CompareConfig, rounds: list[Config], network: _Network | None) -> float:
    """Training time of a method over all rounds; NaN where there was none."""
    if network is None:
        return float("nan")
    runs = [RunFolder.named(_of_network(one, network, config.run).run) for one in rounds]
    return float(sum(run.read_metrics()["train_seconds"] for run in runs))


def _json(table: pd.DataFrame, found: pd.DataFrame, config: CompareConfig) -> dict[str, Any]:
    """The ranking, with the RMSE of each method in each round, and how it came about."""
    read = found.dropna(subset=list(table.index))
    squares = _errors(read, list(table.index), config) ** 2
    rounds = squares.groupby([read["seed"], read["fold"]]).mean().pow(0.5)
    plain = table.astype(object).where(table.notna(), None).to_dict("index")
    groups = found["group"].nunique() if "group" in found else None
    return {
        "unit": _unit(config),
        "n": len(found),
        "n_groups": groups,
        "options": options_that_count(config),
        "methods": [{"method": key, **row, "rmse_of_rounds": rounds[str(key)].tolist()} for key, row in plain.items()],
        "rounds": [{"seed": int(seed), "fold": int(fold)} for seed, fold in rounds.index],
    }


def _unit(config: CompareConfig) -> str:
    """Of errors."""
    return _scale(config).unit(config.data.unit)


def _scale(config: CompareConfig) -> Scale:
    return scale_of(config.data.scale, config.bins.period)


def _text(table: pd.DataFrame, found: pd.DataFrame, config: CompareConfig, folder: Path) -> str:
    groups = f" of {found['group'].nunique()} groups" if "group" in found else ""
    seeds = ", ".join(map(str, _seeds(config)))
    folds = f", {config.split.folds} folds" if config.split.folds else ""
    minutes = config.compare.minutes
    each = f"; {minutes:g} minutes of training per seed and fold" if minutes and table["seconds"].notna().any() else ""
    lines = [f"{len(found)} test photographs{groups}, seed {seeds}{folds}{each}"]
    lines.append(ranking_text(table, _unit(config)))
    if refused := {name: int(count) for name, count in table["n_refused"].items() if count}:
        lines.append(f"Photographs that some method refused are left out of the ranking: {refused}")
    return "\n".join([*lines, f"Results in {folder}: comparison.csv, comparison.json, predictions.csv, and the runs"])

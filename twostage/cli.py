"""``twostage COMMAND [option=value ...]``: Hydra composes the options, one orchestrator function does the work.

A mistake of the user ends with one line on stderr and exit status 1.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from twostage import __version__
from twostage.errors import Stopped, TwoStageError, suggest
from twostage.options.commands import COMMANDS
from twostage.options.run import METHODS, Config

__all__ = ["main"]

MEANINGS = {
    "train": "train both stages, combine them, evaluate once on the test set",
    "train-classifier": "train stage 1 alone",
    "train-regressor": "train stage 2 alone, after stage 1 of the same run",
    "evaluate": "combine the trained stages and evaluate on the test set",
    "crossval": "train and evaluate once per fold; every photograph is read by a model that has not seen it",
    "compare": "several methods on the same splits, seeds and training time, ranked",
    "learning-curve": "train with more and more photographs: what would twice as many bring?",
    "predict": "read photographs with a trained model",
    "backbones": "list backbones: parameters, multiply-adds, speed on this machine, symmetry",
}

USAGE = f"""twostage {__version__}: photo in, concentration out

usage: twostage COMMAND [option=value ...]
       twostage COMMAND --help        the options of a command
       twostage train -m bins.count=6,9 ...   one run for each value or combination

commands:
""" + "\n".join(f"  {name:<18}{meaning}" for name, meaning in MEANINGS.items())


def main(arguments: list[str] | None = None) -> None:
    """Run one command; exits with status 0, 1 (a mistake in the input) or 2 (usage)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(__version__)
        return
    command, overrides = arguments[0], arguments[1:]
    if command == "backbones":
        overrides = ["json=true" if text == "--json" else text for text in overrides]
    if command not in COMMANDS:
        print(f"twostage: unknown command '{command}': {suggest(command, COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    if {"-h", "--help"} & set(overrides):
        print(_help(command))
        return
    _log_to_stderr()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _run(command, overrides)
    except TwoStageError as error:
        _fail(error)
    except KeyboardInterrupt as stop:
        _say(str(stop) or "stopped")
        sys.exit(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT))


def _speaks() -> bool:
    """Of the processes that torchrun starts, the first alone."""
    return os.environ.get("RANK", "0") == "0"


def _say(message: str) -> None:
    if _speaks():
        print(f"twostage: {' '.join(message.split())}", file=sys.stderr)


def _fail(error: TwoStageError) -> None:
    _say(str(error))
    sys.exit(1)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Stopped("stopped", number)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("twostage")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if _speaks() else logging.CRITICAL)
    logger.propagate = False


def _run(command: str, overrides: list[str]) -> None:
    """Let Hydra compose the options and call the command with them, once or for every run of a sweep."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from twostage.options.compose import explain, prepare, to_typed
    from twostage.options.registry import conf_dir, config_name, register_schemas

    register_schemas()
    sys.argv = ["twostage", *prepare(overrides)]
    # else Hydra prints an error itself, in many lines
    os.environ["HYDRA_FULL_ERROR"] = "1"

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name(command))
    def job(composed: Any) -> None:
        try:
            _work(command, to_typed(composed, COMMANDS[command]), overrides)
        except TwoStageError as error:  # here, because Hydra would add lines of its own
            _fail(error)
        except OmegaConfBaseException as error:
            _fail(explain(error))

    try:
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


def _work(command: str, config: Any, overrides: list[str]) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from twostage import orchestrator

    if command == "predict":
        _print_predictions(orchestrator.predict(config), config.output)
        return
    if command == "backbones":
        from twostage.studies.backbone_table import backbone_table, text_table

        table = backbone_table(config)
        print(table.to_json(orient="records", indent=2) if config.json else text_table(table))
        return
    sweep = None
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        sweep = Path(HydraConfig.get().sweep.dir)
        config.run = str(sweep / HydraConfig.get().sweep.subdir)
    if command in ("train-regressor", "evaluate"):
        config = _as_saved(config, overrides)
    try:
        _work_on_run(command, config, sweep)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        name = config.run if sweep is None else sweep.name
        raise Stopped(f"{stop or 'stopped'}; to go on, give the same command with run={name}", number) from stop


def _work_on_run(command: str, config: Config, sweep: Path | None) -> None:
    from twostage import orchestrator
    from twostage.report.tables import closing_table
    from twostage.run.folder import run_folder
    from twostage.studies.comparison import compare
    from twostage.studies.cross_validation import cross_validate
    from twostage.studies.learning_curve import learning_curve

    if command in ("train-classifier", "train-regressor"):
        stage = command.removeprefix("train-")
        function = orchestrator.train_classifier if stage == "classifier" else orchestrator.train_regressor
        folder = function(config)
        following = "train-regressor" if METHODS[config.method][-1] != stage else "evaluate"
        _print(f"The {stage} is in {folder / 'model'}; next: twostage {following} run={config.run}")
        return
    studies: dict[str, Callable[[Any], str]] = {
        "crossval": cross_validate, "compare": compare, "learning-curve": learning_curve,
    }  # fmt: skip
    if command in studies:
        _print(studies[command](config))
    else:
        metrics = orchestrator.train(config) if command == "train" else orchestrator.evaluate(config)
        _print(closing_table(metrics, run_folder(config.run)))
    if sweep is not None and _speaks():
        _print_sweep(sweep)


def _print_sweep(folder: Path) -> None:
    """The runs of a sweep that are finished, and what their seeds say together."""
    from twostage.files import write_atomically
    from twostage.report.tables import leaderboard, seed_summary

    runs = leaderboard(folder)
    for title, name, table in (
        ("The sweep so far", "leaderboard.csv", runs),
        ("Mean over the seeds", "summary.csv", seed_summary(runs)),
    ):
        if not table.empty:
            write_atomically(folder / name, table.to_csv(index=False).encode())
            _print(f"\n{title} ({folder / name}):\n{table.to_string(index=False)}\n")


def _print(text: str) -> None:
    if _speaks():
        print(text)


def _as_saved(config: Config, overrides: list[str]) -> Config:
    """For a later stage: the options of the run, unless the command line names some (they are compared then)."""
    from twostage.run.folder import find_run, saved_config

    given = [text.lstrip("+").split("=")[0] for text in overrides if not text.startswith("-")]
    folder = find_run(config.run if "run" in given else "latest")
    saved = saved_config(folder)
    if any(key not in ("run", "resume") and not key.startswith("runtime.") for key in given):
        config.run = saved.run
        return config
    saved.runtime, saved.resume = config.runtime, config.resume
    return saved


def _print_predictions(frame: Any, output: str | None) -> None:
    if output is None:
        print(frame.to_csv(index=False), end="")
        return
    path = Path(output).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path, index=False)
    except OSError as error:
        from twostage.errors import RunError

        raise RunError(f"output={output}: cannot be written ({error.strerror})") from error
    counts = frame["status"].value_counts()
    print(f"{len(frame)} photographs read into {path}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))


def _help(command: str) -> str:
    from twostage.options.help import option_table

    rows = option_table(COMMANDS[command])
    name_width = max(len(name) for name, _, _ in rows)
    lines = [f"twostage {command} [option=value ...]: {MEANINGS[command]}", ""]
    lines += [f"  {name:<{name_width}}  {default:<16} {meaning}" for name, default, meaning in rows]
    if issubclass(COMMANDS[command], Config):
        from twostage.options.registry import conf_dir

        lines += ["", "Choices that set many options at once:"]
        for group in sorted(p for p in conf_dir().iterdir() if p.is_dir() and not p.name.startswith("_")):
            if group.name == "compare" != command:
                continue
            names = sorted(file.stem for file in group.glob("*.yaml"))
            more = ", any timm name" if group.name == "backbone" else ""
            lines.append(f"  {group.name}=  {' | '.join(names)}{more}")
    return "\n".join(lines)

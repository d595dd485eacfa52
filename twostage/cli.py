"""``twostage COMMAND [option=value ...]``: Hydra composes the options, one function does the work.

The commands are a table in `options.commands`. A mistake of the user ends with one line on stderr and exit status 1.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from twostage import __version__
from twostage.errors import (
    DataError,
    RefusedError,
    Stopped,
    StorageError,
    TwoStageError,
    suggest,
)
from twostage.files import given_path
from twostage.options.commands import COMMANDS, CheckDataConfig, Command
from twostage.options.family import resolve
from twostage.options.reading import PredictConfig
from twostage.options.run import Config
from twostage.terminal import let_names_through, log_lines, printable

__all__ = ["check_data", "evaluate", "main", "predict", "train", "train_classifier", "train_regressor"]


def main(arguments: list[str] | None = None) -> None:
    """Run one command; exits with status 0, 1 (a mistake in the input) or 2 (usage)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        from twostage.options.help import usage

        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(__version__)
        return
    name, overrides = arguments[0], arguments[1:]
    if name not in COMMANDS:
        _say(f"unknown command '{name}': {suggest(name, COMMANDS)}")
        sys.exit(2)
    if {"-h", "--help"} & set(overrides):
        from twostage.options.help import command_help

        print(command_help(name))
        return
    _begin()
    try:
        from twostage.options.compose import with_files

        _run(name, ["json=true" if text == "--json" else text for text in with_files(overrides)])
    except TwoStageError as error:
        _fail(error)
    except KeyboardInterrupt as stop:
        _say(str(stop) or "stopped")
        sys.exit(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT))


def _begin() -> None:
    """What a process needs that works on a command, as one does that a launcher of sweeps has started."""
    let_names_through()
    log_lines(logging.INFO if _speaks() else logging.CRITICAL)
    signal.signal(signal.SIGTERM, _terminate)


def _speaks() -> bool:
    """Of the processes that torchrun starts, the first alone."""
    return os.environ.get("RANK", "0") == "0"


def _say(message: str) -> None:
    if _speaks():
        print(f"twostage: {' '.join(printable(message).split())}", file=sys.stderr)


def _fail(error: TwoStageError) -> None:
    _say(str(error))
    sys.exit(1)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Stopped("stopped", number)


def _run(name: str, overrides: list[str]) -> None:
    """Let Hydra compose the options and call the command with them, once or for every run of a sweep."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from twostage.options.compose import check_restarts, explain, prepare, to_typed
    from twostage.options.registry import conf_dir, register_schemas
    from twostage.studies.sweeping import Sweep, lost_run, stopped

    register_schemas()
    check_restarts(overrides)
    Sweep.config = None
    sys.argv = ["twostage", *prepare(overrides, name)]
    # else Hydra prints an error itself, in many lines
    os.environ["HYDRA_FULL_ERROR"] = "1"

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)
    def job(composed: Any) -> None:
        _begin()
        try:
            _work(COMMANDS[name], to_typed(composed, COMMANDS[name].options), overrides)
        except TwoStageError as error:  # here, because Hydra would add lines of its own
            _fail_or_go_on(error)
        except OmegaConfBaseException as error:
            _fail_or_go_on(explain(error))
        except (MemoryError, RuntimeError) as error:
            from twostage.training.distributed import of_the_machine

            if (told := of_the_machine(error)) is None:
                raise
            _fail_or_go_on(told)
        except OSError as error:  # rights, disks and networks may fail anywhere
            _fail_or_go_on(StorageError(f"{error.filename or 'a file'}: {error.strerror or error}"))

    try:
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error
    except KeyboardInterrupt as stop:
        if isinstance(stop, Stopped) or (sweep := Sweep.ended()) is None:
            raise
        raise stopped(stop, str(sweep.folder)) from stop  # while a launcher waits for runs
    except Exception as error:
        if (lost := lost_run(error)) is not None:
            raise lost from error
        raise
    if (sweep := Sweep.ended()) is not None:
        if not sweep.speaks:  # its runs came side by side
            _print_sweep(sweep.folder)
        sweep.demand_all()


def _fail_or_go_on(error: TwoStageError) -> None:
    """The command fails; where it is a sweep, that run of it does, and the others go on."""
    from twostage.studies.sweeping import SweepRun

    run = SweepRun.here()
    if run is None or int(os.environ.get("WORLD_SIZE", "1")) > 1:  # processes that fail alone would lose step
        _fail(error)
    else:
        _say(f"run {run.path}: {error}")
        run.fail(error)


def _work(command: Command, config: Any, overrides: list[str]) -> None:
    """Call a command's function, print what it returns, and after each run of a sweep how the sweep stands."""
    import pandas as pd

    from twostage.studies.sweeping import SweepRun

    pd.set_option("mode.string_storage", "python")  # pyarrow, where it is there, takes no name that is no Unicode
    sweep = SweepRun.here()
    if sweep is not None:
        sweep.begin()
        config.run = str(sweep.path)
    if command.continues:
        config = _as_saved(config, overrides)
    try:
        text = resolve(command.function)(config, *([overrides] if command.takes_words else []))
    except KeyboardInterrupt as stop:
        if not isinstance(config, Config):
            raise
        from twostage.studies.sweeping import stopped

        raise stopped(stop, config.run if sweep is None else str(sweep.folder)) from stop
    _print(text)
    if sweep is not None and _speaks():
        _print_sweep(sweep.folder, sweep.speaks)


def _print_sweep(folder: Path, speaks: bool = True) -> None:
    """Write how a sweep stands, and say it; runs that come side by side only write."""
    from twostage.studies.sweep import sweep_so_far

    told = sweep_so_far(folder)
    _print(told if speaks else "")


def _print(text: str, is_data: bool = False) -> None:
    """Print what a command returns; data that goes to a file or a program stays exactly what it is."""
    if not is_data or sys.stdout.isatty():
        text = printable(text)
    if text and _speaks():
        print(text, end="" if text.endswith("\n") else "\n")


def _as_saved(config: Config, overrides: list[str]) -> Config:
    """For a later stage: the options of the run, unless the command line names some (they are compared then)."""
    from twostage.run.folder import find_run

    given = [text.lstrip("+").split("=")[0] for text in overrides if not text.startswith("-")]
    folder = find_run(config.run if "run" in given else "latest")
    if not any(key not in ("run", "resume") and not key.startswith("runtime.") for key in given):
        runtime, resume = config.runtime, config.resume
        config = folder.saved_config()
        config.runtime, config.resume = runtime, resume
    config.run = folder.run
    return config


def train(config: Config) -> str:
    """Train and evaluate; the closing table."""
    from twostage.studies.final import train as to_the_end

    return _closing(config, to_the_end(config))


def evaluate(config: Config) -> str:
    """Evaluate what is trained; the closing table."""
    from twostage import orchestrator

    return _closing(config, orchestrator.evaluate(config))


def _closing(config: Config, metrics: dict[str, Any]) -> str:
    from twostage.report.tables import closing_table
    from twostage.run.folder import RunFolder

    return closing_table(metrics, RunFolder.named(config.run).path)


def train_classifier(config: Config) -> str:
    """Train stage 1; where it is, and what comes next."""
    return _one_stage("classifier", config)


def train_regressor(config: Config) -> str:
    """Train stage 2; where it is, and what comes next."""
    return _one_stage("regressor", config)


def check_data(config: CheckDataConfig, words: list[str]) -> str:
    """Look at the photographs without training; status 1, after the screen, where training would refuse them."""
    from twostage.studies.data_check import as_json, check_data, screen

    found = check_data(config, words)
    text = as_json(found) if config.json else screen(found)
    if found["refused"]:
        _print(text, config.json)
        raise DataError(found["refused"][0])
    return text


def _one_stage(stage: str, config: Config) -> str:
    from twostage import orchestrator
    from twostage.options.choices import METHODS

    folder = orchestrator.train_stage(stage, config)
    following = "train-regressor" if METHODS[config.method][-1] != stage else "evaluate"
    return f"The {stage} is in {folder / 'model'}; next: twostage {following} run={config.run}"


def predict(config: PredictConfig) -> str:
    """Read photographs; the rows are printed as they come, or with `output` written. Then say how many of each status.

    Raises:
        RefusedError: With `strict`, a photograph was refused; all is written before.
    """
    from twostage.run import predicting

    tally = predicting.predict(config, _print_rows)
    written = "" if config.output is None else f", written to {given_path(config.output, 'output')}"
    said = f"{tally.rows} photographs{written}: {tally}"
    refused = tally.statuses.get("refused", 0)
    if refused and (config.strict or refused == tally.rows):
        said += f"; the first refused: {tally.refused}"
    if refused and config.strict:
        raise RefusedError(said)
    logging.getLogger("twostage").info("%s", said)
    return ""


def _print_rows(data: bytes) -> None:
    try:
        _print(data.decode("utf-8", "surrogateescape"), is_data=True)
        sys.stdout.flush()
    except BrokenPipeError as error:
        sys.stdout = open(os.devnull, "w")  # else Python tries again when it ends
        raise StorageError("the program that the rows are printed to takes no more of them") from error

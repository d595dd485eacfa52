"""Where a run is: a name is a folder below outputs/, and nothing but a run is ever written over."""

from __future__ import annotations

from pathlib import Path

from twostage.errors import ConfigError, RunError, some
from twostage.files import given_path

__all__ = ["OUTPUTS", "refuse_others", "run_path", "sweep_path"]

OUTPUTS = Path("outputs")

MARKS = ("splits.csv", "classifier", "regressor", "model")
"""A folder with config.yaml and one of these is a run; one with config.yaml alone may be anybody's."""
BEFORE = ("start.csv",)
"""What a run writes before its config.yaml: one that was killed in between has no more."""
TABLES = ("predictions", "splits", "comparison", "learning_curve", "leaderboard", "summary", "multirun")
"""What lies beside the runs of a study or a sweep, each with a suffix."""


def run_path(run: str) -> Path:
    """outputs/NAME; a path is taken as it is where it is asked for, by outputs/ or / at its beginning.

    Raises:
        ConfigError: The name is empty, leads out of outputs/, is hidden, or no folder can be called that.
    """
    path = given_path(run, "run")
    if path.is_absolute():
        if path == Path.home() or Path.cwd().is_relative_to(path):
            raise ConfigError(f"run={run} is {path}, which holds more than a run: choose another run=NAME")
        return path
    inside = path.parts[1:] if path.parts[:1] == OUTPUTS.parts else path.parts
    if not inside or any(part.startswith(".") for part in inside):
        raise ConfigError(
            f"run={run} is no name of a run: its folder is {OUTPUTS}/NAME, and no part of NAME is empty or begins "
            f"with a dot; give another run=NAME, or an absolute path"
        )
    return OUTPUTS.joinpath(*inside)


def refuse_others(path: Path, *, ours: tuple[str, ...] = ("config.yaml",), runs: bool = False) -> None:
    """See that a run, or what makes runs below it, may write into a folder.

    Args:
        ours: Files that only this command leaves there.
        runs: It makes runs below the folder, which are there already where it was interrupted.

    Raises:
        RunError: It lies inside another run, or holds what is not ours.
    """
    for above in path.parents:
        if _is_run(above):
            raise RunError(f"{path} lies inside run {above}: choose another run=NAME")
    if not path.is_dir() or any((path / name).is_file() for name in ours):
        return
    foreign = [entry.name for entry in _visible(path) if not (runs and (entry.stem in TABLES or _holds_runs(entry)))]
    if foreign := sorted(set(foreign) - set(BEFORE)):
        raise RunError(
            f"{path} is there and no run of this command (it holds {some(foreign)}): choose another run=NAME"
        )


def sweep_path(run: str) -> Path:
    """The folder of a sweep, in which its runs are 0, 1, ...

    Raises:
        ConfigError: As `run_path`.
        RunError: It holds what no sweep has made.
    """
    path = run_path(run)
    if _is_run(path) or path.name == "latest":
        raise RunError(f"{path} is a run, and no folder of a sweep: choose another run=NAME")
    refuse_others(path, ours=("multirun.yaml",), runs=True)
    return path


def _visible(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if not entry.name.startswith(".")]


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file() and any((path / name).exists() for name in MARKS)


def _holds_runs(path: Path) -> bool:
    """Is this a run, begun or not, or a folder of such?"""
    if not path.is_dir() or path.is_symlink():
        return False
    return _is_run(path) or all(entry.name in BEFORE or _holds_runs(entry) for entry in _visible(path))

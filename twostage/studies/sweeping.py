"""A sweep while it goes on: one run, in whatever process a launcher of Hydra puts it, and the end of all of them."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode

from twostage.errors import RunError, Stopped, TwoStageError, number_of, some
from twostage.files import write_atomically

__all__ = ["Sweep", "SweepRun", "lost_run", "stopped"]


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep."""

    folder: Path
    """Of the whole sweep."""
    name: str
    speaks: bool
    """Does it come alone, after those before it, so that it may say how the sweep stands?"""

    @classmethod
    def here(cls) -> SweepRun | None:
        """The run of which this process is in the middle; None where there is no sweep."""
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN or "sweep" not in hydra.callbacks:  # of a command that makes no runs
            return None
        return cls.of(hydra, hydra.sweep.subdir)

    @classmethod
    def of(cls, hydra: Any, name: str) -> SweepRun:
        """A run by its name, as the options of Hydra tell."""
        return cls(Path(hydra.sweep.dir), name, hydra.runtime.choices["hydra/launcher"] == "basic")

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.folder / self.name

    def begin(self) -> None:
        """Forget how it failed before."""
        _failures(self.folder).joinpath(self.name).unlink(missing_ok=True)

    def fail(self, error: TwoStageError) -> None:
        """Note an error for the end of the sweep; the other runs go on."""
        _failures(self.folder).mkdir(parents=True, exist_ok=True)
        write_atomically(_failures(self.folder) / self.name, str(error).encode("utf-8", "surrogateescape"))

    def demand_all(self) -> None:
        """Say which runs of the sweep have failed.

        Raises:
            RunError: Some have.
        """
        failed = sorted(_failures(self.folder).glob("*"), key=lambda file: (len(file.name), file.name))
        reasons = [f"{file.name} ({file.read_text('utf-8', 'surrogateescape')})" for file in failed]
        shutil.rmtree(_failures(self.folder), ignore_errors=True)
        if failed:
            raise RunError(
                f"{number_of(len(failed), 'run', 'runs')} of the sweep failed: {some(reasons, 3)}; the same command "
                f"tries them again"
            )


class Sweep(Callback):
    """The whole sweep, which Hydra tells when it begins, in the process of the command."""

    config: ClassVar[Any] = None

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Keep what the folder of the sweep follows from, and forget which runs failed in an earlier command."""
        Sweep.config = config
        shutil.rmtree(_failures(SweepRun.of(config.hydra, "").folder), ignore_errors=True)

    @classmethod
    def ended(cls) -> SweepRun | None:
        """The sweep that came to its end, as if it were one of its runs; None where there was none."""
        config, cls.config = cls.config, None
        return None if config is None else SweepRun.of(config.hydra, "")


def _failures(folder: Path) -> Path:
    return folder / ".failed"


def lost_run(error: Exception) -> RunError | None:
    """What to say where a launcher has lost the process of a run; None of any other error."""
    if type(error).__name__ not in ("UncompletedJobError", "TerminatedWorkerError", "BrokenProcessPool"):
        return None
    return RunError(
        "a process of the sweep ended before its run did: it was killed, or there was too little memory for so many "
        "runs at once; what is finished is kept, and the same command goes on"
    )


def stopped(stop: KeyboardInterrupt, run: str) -> Stopped:
    """How to go on with a run, or with a sweep, that was stopped."""
    from twostage.run.folder import RunFolder  # slow to load, because of torch

    number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
    return Stopped(
        f"{str(stop) or 'stopped'}; to go on, give the same command with run={RunFolder.named(run).run}", number
    )

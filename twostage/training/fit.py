"""The one training loop, for either stage, in one process or several, at once or with interruptions."""

from __future__ import annotations

import copy
import gc
import logging
import time
from dataclasses import asdict
from signal import SIGTERM
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.data.augment import augmented
from twostage.data.color import to_color, to_srgb
from twostage.errors import ConfigError, RunError, Stopped, TrainingError, some
from twostage.files import write_atomically
from twostage.stages.reading import BATCH, batches
from twostage.stages.stage import Learner
from twostage.training.checkpoint import Checkpoint
from twostage.training.course import Course, Examples
from twostage.training.distributed import (
    any_process,
    first_process_first,
    gather,
    is_first_process,
    mean_over_processes,
    my_share,
    parallel_loss,
    process_count,
    process_number,
)
from twostage.training.interrupt import StopRequest, stop_requests
from twostage.training.optimizer import Average, build_optimizer, build_schedule, restore
from twostage.training.order import batches_of, stream_seed
from twostage.training.precision import apply_plan, set_precision
from twostage.training.progress import Epoch, Progress, history_table

__all__ = ["fit"]

log = logging.getLogger("twostage")

AVERAGE_EVERY = 4
"""Steps between two updates of the averaged weights, which move little in one and cost 5 % of it where many."""


def fit(
    stage: Learner, train: Examples, validation: Examples, course: Course, checkpoint: Checkpoint | None = None
) -> list[Epoch]:
    """Train `stage` in place and leave it with the averaged weights of the best epoch, by validation RMSE, or the last.

    Order of the images, augmentation and dropout are functions of (seed, label, epoch, step) alone, so the position is
    all that a checkpoint needs to hold of the random state, and a training that goes on from one ends with the very
    weights of one that was never interrupted.

    Raises:
        TrainingError: The loss is no longer finite; the message names the photographs of the batch.
        RunError: The checkpoint is of something else.
        StorageError: The checkpoint cannot be written.
        Stopped: Ctrl-C or SIGTERM came; the checkpoint holds everything.
    """
    start = copy.deepcopy(stage.state_dict()) if course.options.retry else None
    with first_process_first():  # which removes a damaged checkpoint
        saved = None if checkpoint is None else checkpoint.load()
    training = _Training(stage, train, validation, course, checkpoint, halved=bool(saved and saved["halved"]))
    if saved is not None:
        training.load_state_dict(saved)
    with torch.random.fork_rng(), stop_requests() as stop:
        try:
            training.run(stop)
            failed = False
        except TrainingError as error:
            if start is None or training.halved:
                raise
            training.stop_if_asked(stop)
            log.warning("%s; it starts once more at half the learning rate (train.retry)", error)
            failed = True
        if failed and start is not None:  # outside of the error, which holds on to all that failed
            del training
            gc.collect()  # several processes would go on to add up the gradients of the first
            stage.load_state_dict(start)
            training = _Training(stage, train, validation, course, checkpoint, halved=True)
            training.run(stop)
    set_precision(stage, torch.float32)
    stage.load_state_dict(training.best)
    return training.history


class _Training:
    """All that changes while a stage is trained, which is what a checkpoint holds, and the steps that change it."""

    def __init__(
        self,
        stage: Learner,
        train: Examples,
        validation: Examples,
        course: Course,
        checkpoint: Checkpoint | None,
        halved: bool,
    ) -> None:
        options = course.options
        self.stage, self.train, self.validation, self.course = stage, train, validation, course
        self.checkpoint, self.halved = checkpoint if is_first_process() else None, halved
        self.batches = max(1, len(train.names) // options.batch_size)
        self.steps = min(self.batches, course.steps or self.batches)
        if len(train.names) // self.batches < process_count():
            raise ConfigError(
                f"train.batch_size={options.batch_size} is that of all {process_count()} processes together, and each "
                f"needs a photograph: set it higher"
            )
        stage.to(course.device)
        apply_plan(course.plan, stage)  # before the average is made, so that it has the same layout
        self.loss = parallel_loss(stage, course.device)
        self.optimizer = build_optimizer(stage, options.learning_rate / (1 + halved), options.weight_decay)
        self.schedule = build_schedule(self.optimizer, options.schedule, course.epochs * self.steps, options.warmup)
        self.average = Average(stage, options.ema_decay) if options.ema_decay else None
        self.kept: nn.Module = stage if self.average is None else self.average.module
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.losses: list[float] = []  # these three of the epoch that is under way
        self.step, self.seconds = 0, 0.0
        self.saved_at, self.save_seconds, self.unsaved = time.monotonic(), 0.0, False

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors, numbers and texts only."""
        return {
            "stage": self.stage.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best,
            "history": [asdict(row) for row in self.history],
            "step": self.step,
            "losses": self.losses,
            "seconds": self.seconds,
            "halved": self.halved,
            "threads": self.course.threads.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        try:
            self.stage.load_state_dict(saved["stage"])
            if self.average is not None and saved["average"] is not None:
                self.average.load_state_dict(saved["average"])
            restore(self.optimizer, self.schedule, saved)
        except (RuntimeError, ValueError) as error:  # only resume=force gets here
            reason = " ".join(str(error).split())[:160]
            raise RunError(f"the checkpoint of the {self.course.label} is of another network: {reason}") from error
        self.best = saved["best"]
        self.history = [Epoch(**row) for row in saved["history"]]
        self.step, self.losses, self.seconds = saved["step"], saved["losses"], saved["seconds"]
        if "threads" in saved:
            self.course.threads.load_state_dict(saved["threads"])
        self._write_history()  # a kill may have come between the checkpoint and it
        log.info("%s: goes on at epoch %d, step %d", self.course.label, len(self.history) + 1, self.step + 1)

    def run(self, stop: StopRequest) -> None:
        """Train to the end of the last epoch, or until no better one came for `patience` epochs."""
        count, epochs = self._images_of(self.steps), self.course.epochs
        done = len(self.history) * count + self._images_of(self.step)
        with Progress(self.course.label, epochs, count, done, self.course.progress and is_first_process()) as bar:
            while len(self.history) < epochs and not self._out_of_patience():
                self._run_epoch(bar, stop)
                bar.epoch(self.history[-1])
                self._save_if_due(epoch_ended=True)
        if self.unsaved:
            self._save()
        if len(self.history) < epochs:
            patience = self.course.options.patience
            log.info("%s: no better validation RMSE for %d epochs, stopped early", self.course.label, patience)
        self.stop_if_asked(stop)

    def stop_if_asked(self, stop: StopRequest, where: str = "at the end") -> None:
        """Let a signal that came to any process end all, once the first has saved, for which the others wait here."""
        if any_process(stop.signal is not None):
            saved = "" if self.checkpoint is None else ", and saved"
            raise Stopped(f"{self.course.label}: stopped {where}{saved}", stop.signal or SIGTERM)

    def _images_of(self, steps: int) -> int:
        """Photographs in so many steps."""
        return round(len(self.train.names) * steps / self.batches)

    def _run_epoch(self, bar: Progress, stop: StopRequest) -> None:
        course, epoch, begin = self.course, len(self.history), time.perf_counter() - self.seconds
        batches = batches_of(len(self.train.names), self.batches, stream_seed(course.seed, course.label, epoch))
        self.stage.train()
        apply_plan(course.plan, self.stage)
        while self.step < self.steps:
            rows = batches[self.step]
            with course.threads.timed(len(rows)):
                self.losses.append(self._learn(rows, epoch))
            self.step += 1
            self.seconds = time.perf_counter() - begin
            bar.images(len(rows))
            stopping = any_process(stop.signal is not None)  # asked once: a later one finds less saved
            self._save_if_due()
            if stopping:
                self._save()
                self.stop_if_asked(stop, f"in epoch {epoch + 1} of {course.epochs}")
        self._end_epoch(begin)

    def _learn(self, rows: np.ndarray, epoch: int) -> float:
        """One step on a whole batch, of which this process takes its share; returns the loss of the batch."""
        course, step = self.course, self.step
        mine = [f"process {process_number()}"] if process_count() > 1 else []  # else all would drop the same out
        torch.manual_seed(stream_seed(course.seed, course.label, epoch, step, *mine))
        generator = torch.Generator().manual_seed(stream_seed(course.seed, course.label, epoch, step, "augment"))
        share = my_share(rows)
        srgb = to_srgb(self.train.pixels[rows[share]], course.device)
        srgb, motion = augmented(srgb, course.augmentation, generator, len(rows), share)
        srgb = F.avg_pool2d(srgb, self.train.finer) if self.train.finer > 1 else srgb
        moved = self.train.moved
        targets = self.train.targets[rows[share]] if moved is None else moved(rows[share], motion)
        loss = self.loss(to_color(srgb, course.color), targets.to(course.device))
        if process_count() > 1:  # gradients are averaged over processes: let them count as in one batch
            loss = loss * (process_count() * len(rows[share]) / len(rows))
        value = mean_over_processes(float(loss.detach()))
        if not np.isfinite(value):
            raise TrainingError(
                f"{course.label}: the loss is {value}, training stopped; lower train.learning_rate, "
                f"or look at the photographs of this batch: {some((self.train.names[i] for i in rows), 64)}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None and ((step + 1) % AVERAGE_EVERY == 0 or step + 1 == self.steps):
            self.average.steps = step % AVERAGE_EVERY + 1
            self.average.update_parameters(self.stage)
        return value

    def _end_epoch(self, begin: float) -> None:
        rmse = self._validation_rmse()
        if self.course.keep_last or not self.history or rmse < self.history[-1].best_rmse:
            self.best = copy.deepcopy(self.kept.state_dict())
        best = min([rmse, *(row.best_rmse for row in self.history[-1:])])
        loss = float(np.mean(self.losses))
        seconds = time.perf_counter() - begin
        rate, count = self.optimizer.param_groups[0]["lr"], self._images_of(self.steps)
        self.history.append(Epoch(len(self.history) + 1, rate, loss, rmse, best, seconds, count / seconds))
        self.step, self.losses, self.seconds, self.unsaved = 0, [], 0.0, True

    def _save_if_due(self, epoch_ended: bool = False) -> None:
        """After each epoch, but where weights are many and epochs short no more often than costs a 50th of the time."""
        since = time.monotonic() - self.saved_at
        if since >= self.course.checkpoint_seconds or (epoch_ended and since >= 50 * self.save_seconds):
            self._save()

    def _save(self) -> None:
        if self.checkpoint is not None:
            begin = time.monotonic()
            self.checkpoint.save(self.state_dict())
            self._write_history()
            self.saved_at, self.unsaved = time.monotonic(), False
            self.save_seconds = self.saved_at - begin

    def _write_history(self) -> None:
        if self.checkpoint is not None:
            write_atomically(self.checkpoint.folder / "history.csv", history_table(self.history).encode())
            self.course.tell(len(self.history) / self.course.epochs)

    def _out_of_patience(self) -> bool:
        patience = self.course.options.patience
        if not patience or not self.history:
            return False
        return len(self.history) - 1 - int(np.argmin([row.validation_rmse for row in self.history])) >= patience

    @torch.no_grad()
    def _validation_rmse(self) -> float:
        """RMSE of one view of each photograph, as stages count concentrations."""
        examples, course = self.validation, self.course
        self.kept.eval()
        set_precision(self.kept, torch.float32)  # as in prediction
        share = my_share(np.arange(len(examples.names)))
        targets, found = examples.targets[share], [np.zeros(0)]
        for number, images in enumerate(batches(examples.pixels, course.color, course.device, share)):
            some = targets[number * BATCH : number * BATCH + len(images)].to(course.device)
            estimate = self.kept.estimate(images, some)  # type: ignore[operator]
            found.append(estimate.cpu().double().numpy())
        error = examples.scale.apart(gather(np.concatenate(found)), examples.concentration)
        rmse = float(np.sqrt(np.mean(error**2)))
        if not np.isfinite(rmse):
            raise TrainingError(
                f"{course.label}: the validation RMSE is not a finite number, training stopped; "
                f"lower train.learning_rate"
            )
        return rmse

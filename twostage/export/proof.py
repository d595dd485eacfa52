"""The proof of an exported file: it reads photographs beside the predictor, and says the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from twostage.errors import ExportError
from twostage.export.checks import REASONS
from twostage.export.onnx_file import INPUT
from twostage.predictor import Predictor
from twostage.stages.reading import Reading
from twostage.trust.prediction import Prediction, predict
from twostage.trust.status import Status

__all__ = ["TOLERANCE", "Agreement", "odd_pictures", "open_file", "prove", "read_file"]

TOLERANCE = 1e-4
"""Of the range for concentrations and ends of intervals, on the scale; of probabilities as they are."""
PIXELS = 24 * 64 * 64
"""Of the photographs that are read at once: all their views pass the networks together, which takes memory."""
NUMBERS = ("concentration", "lower", "upper")
STATUSES = np.array([status.value for status in Status])


@dataclass(frozen=True)
class Agreement:
    """How far a file's readings of `count` photographs lie from the predictor's, at most.

    `concentration` and `ends` (None without intervals) are shares of the range, `probability` that of any bin as it
    stands; `at_threshold` photographs have another status because a number lies at its threshold; `milliseconds` for
    one photograph are the file's and the predictor's.
    """

    count: int
    concentration: float
    ends: float | None
    probability: float
    at_threshold: int
    milliseconds: tuple[float, float]

    def __str__(self) -> str:
        flips = f"; {self.at_threshold} at a threshold have another" if self.at_threshold else ""
        ends = "" if self.ends is None else f", ends of intervals by {self.ends:.1g}"
        return (
            f"concentrations differ by {self.concentration:.1g} of the range at most{ends}, probabilities by "
            f"{self.probability:.1g}; every status is the same{flips}; {self.milliseconds[0]:.3g} ms a photograph, the "
            f"predictor {self.milliseconds[1]:.3g} ms"
        )


def open_file(content: bytes) -> Any:
    """A session of onnxruntime on the processor, with as many threads as the networks may use here.

    Raises:
        ExportError: The runtime lacks something that the file asks for.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        reason = " ".join(str(error).split())[:200]
        raise ExportError(f"onnxruntime cannot run the exported file, so it was not written: {reason}") from error


def read_file(session: Any, pixels: np.ndarray, at_once: int = 24) -> dict[str, np.ndarray]:
    """Outputs by name, of uint8 sRGB (N,S,S,3), so many of them at once."""
    names = [output.name for output in session.get_outputs()]
    parts = [session.run(None, {INPUT: pixels[i : i + at_once]}) for i in range(0, len(pixels), at_once)]
    return {name: np.concatenate([part[j] for part in parts]) for j, name in enumerate(names)}


def odd_pictures(size: int) -> np.ndarray:
    """A black, a white, a grey and a coloured square, and noise: uint8 (5,size,size,3)."""
    flat = [np.full((size, size, 3), color, np.uint8) for color in ([0, 0, 0], [255] * 3, [128] * 3, [200, 90, 40])]
    return np.stack([*flat, np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)])


def prove(predictor: Predictor, content: bytes, pixels: np.ndarray) -> Agreement:
    """Let a file and the predictor read photographs, uint8 sRGB (N,S,S,3), several at once and one by one.

    Of odd pictures (black, white, flat, noise) status, reason, and where there are numbers have to be the same: what is
    read of those is no concentration.

    Raises:
        ExportError: They differ by more than the tolerance.
    """
    session = open_file(content)
    said, of_predictor = _timed(lambda: predictor.read(pixels), len(pixels))
    at_once = max(2, PIXELS // pixels[0, ..., 0].size)
    several, of_file = _timed(lambda: read_file(session, pixels, at_once), len(pixels))
    odd = odd_pictures(predictor.model.config.image.size)
    _Expected(predictor, odd, predictor.read(odd)).steady(read_file(session, odd, at_once), "odd picture")
    expected = _Expected(predictor, pixels, said)
    found = [expected.agreement(one) for one in (several, read_file(session, pixels, 1))]
    concentration, ends, probability, flips = (max(one) for one in zip(*found, strict=True))
    known = None if np.isnan(said.lower).all() else ends
    return Agreement(len(pixels), concentration, known, probability, int(flips), (of_file, of_predictor))


def _timed(read: Callable[[], Any], count: int) -> tuple[Any, float]:
    """What was read, and the milliseconds for each of so many photographs."""
    begin = time.perf_counter()
    found = read()
    return found, 1000 * (time.perf_counter() - begin) / count


def _refuse(bad: np.ndarray, what: str, told: Callable[[int], str]) -> None:
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise ExportError(
            f"the exported file does not read as the model does, so it was not written: {what} {i + 1} of {len(bad)} "
            f"has {told(i)}"
        )


@dataclass(frozen=True)
class _Expected:
    """What a predictor says of photographs, and what it would say of readings a little beside its own."""

    predictor: Predictor
    pixels: np.ndarray
    prediction: Prediction

    @cached_property
    def reading(self) -> Reading:
        """What the stages say, of refused photographs too."""
        model = self.predictor.model
        return model.network.read(self.pixels, views=model.config.views)

    @property
    def range(self) -> float:
        """Of the concentrations, on the scale."""
        return float(np.ptp(self.predictor.model.bins.places))

    def _size(self, numbers: np.ndarray) -> np.ndarray:
        """What differences are shares of: the range, or how far numbers (N,) lie from its middle where that is more."""
        bins = self.predictor.model.bins
        if bins.period is not None:
            return np.full(numbers.shape, self.range)
        middle = (bins.places[0] + bins.places[-1]) / 2
        return np.fmax(self.range, np.abs(bins.scale.to(numbers) - middle))

    def moved(self, by: np.ndarray | float, farther: float = 0.0) -> Prediction:
        """The prediction, were all readings moved by so much on the scale, (N,), and distances by `farther`."""
        model = self.predictor.model
        offsets = self.reading.offsets + np.reshape(by, (-1, 1)) / (model.recalibration.slope * model.bins.half_width)
        return predict(
            model.bins,
            self.pixels,
            replace(self.reading, offsets=offsets),
            model.config.combine.method,
            model.trust,
            limits=model.limits,
            distance=model.trust.distance(self.pixels) + farther,
            recalibration=model.recalibration,
        )

    def steady(self, found: dict[str, np.ndarray], what: str) -> np.ndarray:
        """See that status, reason and what is no number are the same; which photographs (N,) have the same status.

        Others lie at a threshold: a number that differs by less than the tolerance has given the other status.

        Raises:
            ExportError: They are not.
        """
        said, status = self.prediction, STATUSES[found["status"]]
        same = status == said.status
        explained = same.copy()
        for side in () if same.all() else (-TOLERANCE, TOLERANCE):
            explained |= status == self.moved(side * self.range, side).status
        _refuse(~explained, what, lambda i: f"status {status[i]}, by the predictor {said.status[i]}")
        other = same & ((found["reason"] == 0) != (said.reason == ""))
        _refuse(other, what, lambda i: f"reason '{REASONS[found['reason'][i]]}', by the predictor '{said.reason[i]}'")
        for name in (*NUMBERS, "bin_probabilities"):
            mine, theirs = found[name], getattr(said, name)
            other = (np.isfinite(mine) != np.isfinite(theirs)).reshape(len(same), -1).any(1)
            _refuse(same & other, what, lambda i: f"{name} {mine[i]}, by the predictor {theirs[i]}")  # noqa: B023
        return same

    def agreement(self, found: dict[str, np.ndarray]) -> tuple[float, float, float, int]:
        """How far concentrations and ends, as shares of the range, and probabilities differ; how many statuses do.

        A sharp distribution moves its probabilities by more than its concentration: with 1e-6 of the range, which
        float32 rounds off, a bin's may change by 1e-3. What counts is the difference from those that belong to the
        file's concentration.

        Raises:
            ExportError: By more than the tolerance.
        """
        same = self.steady(found, "photograph")
        scale, said = self.predictor.model.bins.scale, self.prediction
        to, shift = scale.to, scale.error(found["concentration"], said.concentration)
        turn = to(found["concentration"]) - to(said.concentration) - shift  # beside a seam it may have another name
        apart = {name: np.abs(to(found[name]) - turn - to(getattr(said, name))) for name in NUMBERS}
        shares = {name: np.nan_to_num(values / self._size(getattr(said, name))) for name, values in apart.items()}
        for name, share in shares.items():
            _refuse(same & (share > TOLERANCE), "photograph", _off(name, found, said))
        moved = self.moved(np.nan_to_num(shift))
        off, after = (_largest(found["bin_probabilities"] - one.bin_probabilities) for one in (said, moved))
        _refuse(same & (np.minimum(off, after) > TOLERANCE), "photograph", _off("bin_probabilities", found, said))
        ends = max(float(shares[name].max()) for name in NUMBERS[1:])
        return float(shares["concentration"].max()), ends, float(off.max()), int((~same).sum())


def _largest(differences: np.ndarray) -> np.ndarray:
    """Of a row (N,K), (N,); zero where there are no numbers."""
    return np.asarray(np.nan_to_num(np.abs(differences)).max(1))


def _off(name: str, found: dict[str, np.ndarray], said: Prediction) -> Callable[[int], str]:
    return lambda i: f"{name} {found[name][i]}, by the predictor {getattr(said, name)[i]}"

"""`TwoStageRegressor`: the same training and the same reading with the face of scikit-learn."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from twostage.data.drawn_rows import BACKBONE_OF_ROWS, OPTIONS_OF_ROWS, DrawnRows
from twostage.data.given import GROUP, TABLE, names_of, photographs_in, write_table
from twostage.errors import ConfigError, ModelFolderError, StorageError, some
from twostage.files import given_path, write_atomically, write_json
from twostage.model_folder import described_folder
from twostage.options.backbones import CompactConfig
from twostage.options.compose import as_overrides, load_config
from twostage.options.run import BinsConfig, Config, ImageConfig, IntervalsConfig, RuntimeConfig
from twostage.options.run_name import run_path
from twostage.predictor import Predictor
from twostage.studies.final import train as train_run
from twostage.trust.prediction import Prediction

__all__ = ["TwoStageRegressor"]

USUAL: dict[str, Any] = {"split.test": 0, "train.final": "part", "runtime.progress": False}
"""Options that are otherwise than those of the command: who cross-validates outside holds back no test set inside."""
ESTIMATOR = "estimator.json"
"""What a saved estimator has beside its model."""


class TwoStageRegressor(RegressorMixin, BaseEstimator):
    """Photographs in, concentrations out, as scikit-learn asks for it.

    `fit` does what ``twostage train`` does with the same options, except that it holds back no test set: photographs
    for validation and for the intervals it draws from those that it is given. A mistake in an option gives the same
    message as on the command line.

    X are N photographs: uint8 (N,H,W) or (N,H,W,C), or a list, Series or object array of paths, PIL images, bytes or
    arrays (H,W,C), also mixed; a DataFrame with one column of paths. Or X is (N,F) numbers: then each row is drawn as a
    picture of grey fields (`twostage.data.drawn_rows`), which is no better than a regression on the numbers.

    Args:
        bins: How many bins, or their edges.
        backbone: As ``backbone=`` of the command.
        size: Side of the square that the network sees, pixels.
        train: A training profile: "default", "fast", "thorough" or "instant".
        epochs: Epochs of both stages together; None: as many as the profile shows photographs.
        minutes: Training time instead of epochs.
        unit: Unit of the concentrations.
        confidence: Of the intervals.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps", to train and to read.
        random_state: Seed of everything random; a number gives the same as ``seed=`` of the command.
        run: Name of a run whose folder is kept; None: nothing is left on the disk.
        options: Any other options of the command, as ``{"regressor.overlap": 0.5}``.

    Attributes:
        predictor_: The `Predictor` that reads.
        metrics_: The content of metrics.json.
        model_files_: The files of the model folder, {name: bytes}; they alone are pickled.
        drawn_: How rows are drawn; None for photographs.
        n_features_in_: F of rows; photographs have none.

    Examples:
        >>> TwoStageRegressor(bins=6, train="fast")
        TwoStageRegressor(bins=6, train='fast')
    """

    drawn_: DrawnRows | None
    metrics_: dict[str, Any]

    def __init__(
        self,
        bins: int | Sequence[float] = BinsConfig.count,
        backbone: str = CompactConfig.name,
        *,
        size: int = ImageConfig.size,
        train: str = "default",
        epochs: int | None = None,
        minutes: float | None = None,
        unit: str = "",
        confidence: float = IntervalsConfig.confidence,
        device: str = RuntimeConfig.device,
        random_state: Any = Config.seed,
        run: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.bins = bins
        self.backbone = backbone
        self.size = size
        self.train = train
        self.epochs = epochs
        self.minutes = minutes
        self.unit = unit
        self.confidence = confidence
        self.device = device
        self.random_state = random_state
        self.run = run
        self.options = options

    def fit(self, X: Any, y: Any, groups: Any = None) -> TwoStageRegressor:
        """Train both stages.

        Args:
            X: Photographs or rows (N,...).
            y: Concentrations (N,).
            groups: The specimen of each photograph (N,): those of one stay on one side of every split. Without it ten
                photographs of one specimen count as ten specimens, and intervals come out too short.

        Returns:
            Itself.

        Raises:
            ConfigError: An option is unknown or out of range, or X is none of what is taken.
            DataError: There are too few photographs, or concentrations contradict one another.
            ImageError: A photograph cannot be read.
        """
        targets = validate_data(self, y=y, y_numeric=True)
        given = self._given(X, reset=True)
        check_consistent_length(given, targets, groups)
        names = names_of(groups)
        with TemporaryDirectory(prefix="twostage-", ignore_cleanup_errors=True) as scratch:
            # hidden, so that outputs/latest does not lead to it
            run = Path(scratch).absolute() / ".run" if self.run is None else run_path(self.run)
            table = run.with_name(f"{run.name}_photographs") / TABLE
            config = load_config(self._overrides(run, table, names is not None))
            write_table(table, self._pictures(given, config), targets, names, config.image)
            self.metrics_ = train_run(config)
            self._take(_files_of(run / "model"))
        return self

    def predict(self, X: Any, return_interval: bool = False) -> Any:
        """Concentrations (N,), NaN with a UserWarning where a photograph is refused.

        Args:
            return_interval: Return (concentration, lower, upper) instead, (N,) each.
        """
        found = self.prediction(X)
        if (refused := np.flatnonzero(~found.is_read)).size:
            why = some((f"X[{i}]: {found.reason[i]}" for i in refused), 3)
            said = f"{len(refused)} of {len(found)} photographs were refused, their concentration is NaN: {why}"
            warnings.warn(said, UserWarning, stacklevel=2)
        return (found.concentration, found.lower, found.upper) if return_interval else found.concentration

    def prediction(self, X: Any) -> Prediction:
        """All that is read from photographs: bin probabilities, intervals, statuses and reasons too."""
        check_is_fitted(self)
        given = self._given(X, reset=False)
        return self.predictor_.predict(self._pictures(given, self.predictor_.model.config))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 over the photographs that were read; `predict` warns of those that were not."""
        found, targets = self.predict(X), np.asarray(y, np.float64)
        check_consistent_length(found, targets, sample_weight)
        read, scale = np.isfinite(found), self.predictor_.model.bins.scale
        weight = None if sample_weight is None else np.asarray(sample_weight)[read]
        named = scale.near(targets[read], scale.mean(targets[read]))
        return float(r2_score(named, scale.near(found[read], named), sample_weight=weight))

    def save(self, folder: str | Path) -> None:
        """Write the trained model as a model folder, which ``twostage predict run=FOLDER`` reads too.

        It takes the place of what was saved there before.

        Raises:
            StorageError: The folder holds something else, or cannot be written.
        """
        check_is_fitted(self)
        path = given_path(folder, "folder")
        if path.exists() and not (path.is_dir() and ((path / ESTIMATOR).is_file() or not any(path.iterdir()))):
            raise StorageError(f"{path} is there, and no estimator has saved it: choose another folder")
        for old in path.glob("*.safetensors"):
            old.unlink()
        told = {
            "params": self.get_params(deep=False) | {"random_state": self.predictor_.model.config.seed},
            "drawn": None if self.drawn_ is None else self.drawn_.to_json(),
            "names": getattr(self, "feature_names_in_", None),
            "metrics": self.metrics_,
        }
        plain = json.dumps(told, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))
        write_json(path / ESTIMATOR, json.loads(plain))
        for name in sorted(self.model_files_, key="model.json".__eq__):  # the description last: it makes it complete
            write_atomically(path / name, self.model_files_[name])

    @classmethod
    def load(cls, folder: str | Path, device: str | None = None) -> TwoStageRegressor:
        """Load what `save` has written.

        Args:
            device: Where to read, instead of where it was trained.

        Raises:
            ModelFolderError: There is no complete model, or no estimator has saved it.
        """
        path = described_folder(folder)
        try:
            told = json.loads((path / ESTIMATOR).read_text(encoding="utf-8"))
            loaded = cls(**told["params"])
            loaded.metrics_, drawn = told["metrics"], told["drawn"]
            loaded.drawn_ = None if drawn is None else DrawnRows.from_json(drawn)
        except FileNotFoundError as error:
            raise ModelFolderError(
                f"{path}: a model that no estimator has saved (no {ESTIMATOR}): twostage.Predictor.load reads it"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelFolderError(f"{path / ESTIMATOR}: cannot be read ({' '.join(str(error).split())})") from error
        if loaded.drawn_ is not None:
            loaded.n_features_in_ = len(loaded.drawn_.low)
            if told.get("names"):
                loaded.feature_names_in_ = np.array(told["names"], dtype=object)
        loaded.device = device or loaded.device
        loaded._take(_files_of(path))
        return loaded

    def _given(self, X: Any, reset: bool) -> list[Any] | np.ndarray:
        """The photographs (N,...), or rows (N,F) of numbers; with `reset` as `fit` is given them."""
        photographs = photographs_in(X)
        if not reset and (photographs is None) != (self.drawn_ is not None):
            seen, other = ("rows of numbers", "photographs") if self.drawn_ else ("photographs", "numbers")
            raise ConfigError(f"fit was given {seen}, and these are {other}: give {seen}")
        if photographs is None:
            rows = validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_samples=2 if reset else 1)
            self.drawn_ = DrawnRows.fit(rows) if reset else self.drawn_
            return np.asarray(rows)
        if reset:
            self.drawn_ = None
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)  # of rows that were fitted before
        return photographs

    def _pictures(self, given: list[Any] | np.ndarray, config: Config) -> list[Any] | np.ndarray:
        """What is read: the photographs themselves, or pictures of rows."""
        return given if self.drawn_ is None else self.drawn_.draw(np.asarray(given), config.image.size)

    def _overrides(self, run: Path, table: Path, grouped: bool) -> list[str]:
        """What the command line would be given."""
        bins = "bins.edges" if hasattr(self.bins, "__len__") and not isinstance(self.bins, str) else "bins.count"
        named = {
            bins: self.bins,
            "backbone": self.backbone,
            "image.size": self.size,
            "train": self.train,
            "train.epochs": self.epochs,
            "train.minutes": self.minutes,
            "data.unit": self.unit,
            "intervals.confidence": self.confidence,
            "runtime.device": self.device,
            "seed": self._seed(),
            "run": str(run),
        }
        from_data = {"data": "csv", "data.table": str(table), "data.group_column": GROUP if grouped else None}
        usual = USUAL | ({"runtime.cache_dir": str(run.parent / "cache")} if self.run is None else {})
        if self.drawn_ is not None:
            usual |= OPTIONS_OF_ROWS | (BACKBONE_OF_ROWS if self.backbone == CompactConfig.name else {})
        if not isinstance(given := self.options or {}, Mapping):
            raise ConfigError(f'options={given!r} must be a dict, such as {{"regressor.overlap": 0.5}}')
        if taken := [key for key in given if key in {*named, *from_data, "bins.count", "bins.edges"}]:
            instead = "follows from X, y and groups" if taken[0] in from_data else "is a parameter of its own"
            raise ConfigError(f"options: '{taken[0]}' {instead}: leave it out")
        said = {key: value for key, value in (named | from_data).items() if value is not None}
        return as_overrides(usual | dict(given) | said)

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _take(self, files: dict[str, bytes]) -> None:
        """Read with the model of these files."""
        self.model_files_ = files
        with TemporaryDirectory(prefix="twostage-", ignore_cleanup_errors=True) as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self.predictor_ = Predictor.load(folder, self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "predictor_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_files_" in state:
            self._take(self.model_files_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _files_of(folder: Path) -> dict[str, bytes]:
    """The files of a model folder."""
    return {file.name: file.read_bytes() for file in [folder / "model.json", *sorted(folder.glob("*.safetensors"))]}

"""The model as MLflow loads it: from this code and the model folder beside it; nothing is pickled."""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

__all__ = ["TwoStageModel"]


class TwoStageModel(PythonModel):
    """Reads photographs: paths or bytes in the column `image` of a table."""

    def load_context(self, context: Any) -> None:
        """Load the model folder."""
        from twostage.predictor import Predictor

        self.predictor = Predictor.load(context.artifacts["model"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row for each photograph, in order, with the columns of predictions.csv."""
        return self.predictor.predict(list(model_input["image"])).to_frame()


mlflow.models.set_model(TwoStageModel())

"""The model as MLflow loads it: from this code and the model folder beside it; nothing is pickled."""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

__all__ = ["TwoStageModel"]


class TwoStageModel(PythonModel):
    """Reads photographs: a list of paths or bytes, or a table whose column `image` holds them."""

    def load_context(self, context: Any) -> None:
        """Load the model folder."""
        from twostage.predictor import Predictor

        self.predictor = Predictor.load(context.artifacts["model"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow takes hints for more
        """One row for each photograph, in order, with the columns of predictions.csv."""
        images = list(model_input["image"] if isinstance(model_input, pd.DataFrame) else model_input)
        return self.predictor.predict(images).to_frame()


mlflow.models.set_model(TwoStageModel())

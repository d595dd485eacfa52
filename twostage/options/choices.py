"""What is chosen by one word and has no options of its own: name -> "module:name" of what does it."""

from __future__ import annotations

from typing import Any

from twostage.options.family import Family

__all__ = ["ALIGNMENTS", "CHECKS", "COMBINATIONS", "ENGINES", "EXPORTS", "INTERVALS", "METHODS", "POOLINGS", "TRACKERS"]

METHODS = Family(
    "method",
    {"two_stage": ("classifier", "regressor"), "direct": ("regressor",), "classifier": ("classifier",)},
)
"""Which stages a method trains, in this order."""

ALIGNMENTS: Family[Any] = Family("regressor.align", {"none": None, "turn": "twostage.stages.alignment:Turned"})
"""From a photograph and what stage 1 says of it to what stage 2 is shown: a class built as ``Class(bins)``."""

POOLINGS: Family[Any] = Family(
    "pooling",
    {
        "mean": "twostage.backbones.pooling:MeanPooling",
        "flatten": "twostage.backbones.pooling:FlattenPooling",
        "masks": "twostage.backbones.pooling:MaskPooling",
        "surfaces": "twostage.backbones.surfaces:SurfacePooling",
    },
)
"""From feature map and photograph to one vector: a class built as ``Class(map_shape, in_channels)``."""

COMBINATIONS: Family[Any] = Family(
    "combine.method",
    {
        "mixture": "twostage.stages.combination:mixture",
        "argmax": "twostage.stages.combination:argmax",
        "top2": "twostage.stages.combination:top2",
    },
)
"""From bin probabilities and candidates, both (N,K), to one concentration: a function that takes the bins first."""

INTERVALS: Family[Any] = Family(
    "intervals.method",
    {
        "distributional": "twostage.trust.intervals:Distributional",
        "conformal": "twostage.trust.intervals:Conformal",
        "none": "twostage.trust.intervals:NoIntervals",
    },
)
"""Intervals around readings: a class that says how strange a concentration would be, and between which ends none is."""

CHECKS: Family[Any] = Family(
    "check",
    {
        "finite": "twostage.trust.checks:not_finite",
        "range": "twostage.trust.checks:out_of_range",
        "contradiction": "twostage.trust.checks:contradicts_itself",
        "stages": "twostage.trust.checks:stages_disagree",
        "elsewhere": "twostage.trust.checks:could_be_elsewhere",
        "width": "twostage.trust.checks:too_wide",
        "unlike": "twostage.trust.checks:unlike",
        "nothing": "twostage.trust.checks:nothing_to_read",
    },
)
"""What every photograph and its reading must pass, in this order: functions that say which rows fail, and why."""

EXPORTS: Family[Any] = Family(
    "format", {"onnx": "twostage.export.command:as_onnx", "html": "twostage.page.assembly:as_html"}
)
"""What a model is exported as: from its ONNX file (bytes) and its card (dictionary) to the bytes that are written."""

ENGINES: Family[Any] = Family(
    "engine", {"local": "twostage.run.predicting:Local", "ray": "twostage.engines.ray_engine:OnRay"}
)
"""What reads many photographs: a class built as ``Class(options, show)`` with the methods of `predicting.Local`."""

TRACKERS: Family[Any] = Family(
    "runtime.tracker",
    {
        "tensorboard": "twostage.tracking.tensorboard_files:TensorBoard",
        "mlflow": "twostage.tracking.mlflow_runs:MLflow",
    },
)
"""Where else a run is shown: a class with the methods of `twostage.tracking.tracker.Tracker`."""

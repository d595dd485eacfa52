"""Train the start that ships: ``make start``. Random scenes teach a network of the default kind where to look."""

from __future__ import annotations

import argparse
import hashlib
import logging
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from twostage.bins import Bins
from twostage.data.camera import CAMERA, Camera, Photographed, photograph_scenes, scene_targets
from twostage.data.scenes import Spreads
from twostage.files import write_json
from twostage.options.backbones import CompactConfig
from twostage.options.run import AugmentConfig, TrainConfig
from twostage.stages.reading import batches
from twostage.stages.weights import save_weights
from twostage.starts.scene_stage import CELLS, SceneStage, targets_of
from twostage.starts.shipped import FOLDER, network_of
from twostage.training.course import Course, Examples
from twostage.training.fit import fit
from twostage.training.precision import choose_plan

__all__ = ["main", "teach"]

SIZE = 64
SEED = 2**32
"""Of the scenes: no run can have it, so that none of its photographs has made the start."""
VALIDATION = 1000
COLOR = "optical_density"


def kind() -> dict[str, Any]:
    """The options that make a network like the start: those of the default."""
    options = {f"backbone.{key}": value for key, value in asdict(CompactConfig()).items() if key != "name"}
    return {"backbone": CompactConfig.name, **options, "pooling": "masks", "image.color": COLOR}


def teach(count: int, epochs: int, seed: int, precision: str) -> tuple[SceneStage, dict[str, Any]]:
    """Draw so many scenes, and a thousand more for validation, and train on them; returns what to tell of it, too."""
    torch.manual_seed(seed)
    network = network_of(kind(), SIZE)
    pixels, concentration, targets = _draw(count + VALIDATION)
    some = torch.cat(list(batches(pixels[:2000], COLOR, torch.device("cpu"))))
    network.normalize(some.mean((0, 2, 3)), some.std((0, 2, 3)))
    stage = SceneStage(network, Bins([0.0, 100.0]))
    parts = [slice(VALIDATION, None), slice(VALIDATION)]
    names = [f"scene {number}" for number in range(len(pixels))]
    train, validation = (Examples(names[p], pixels[p], concentration[p], targets[p]) for p in parts)
    options = TrainConfig()
    plan = choose_plan(stage, some[: options.batch_size], targets[: options.batch_size], precision)
    still = AugmentConfig(quarter_turns=False, flips=False)  # the maps would not turn with the photographs
    course = Course(options, epochs, "start", COLOR, still, seed, plan=plan, keep_last=True)
    begin = time.perf_counter()
    history = fit(stage, train, validation, course, None)
    told = {"scenes": count, "epochs": epochs, "seed": seed, "train_seconds": round(time.perf_counter() - begin)}
    return stage, told | {"validation_rmse": history[-1].validation_rmse, "plan": str(plan)}


def _draw(count: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Pixels (N,SIZE,SIZE,3), concentrations (N,) and what the stage learns, of N scenes."""
    pieces = [range(start, min(start + 500, count)) for start in range(0, count, 500)]
    drawn = [photograph_scenes(piece, SIZE, SEED, CELLS) for piece in tqdm(pieces, desc="scenes", unit="500")]
    joined = Photographed(
        *(np.concatenate([getattr(one, name) for one in drawn]) for name in Photographed.__annotations__)
    )
    concentration = scene_targets(range(count), SEED)
    return joined.pixels, concentration, targets_of(concentration, joined)


def main() -> None:
    """Train, and write weights and how they came about into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=FOLDER / "scenes.safetensors")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(asked.threads)
    stage, told = teach(asked.scenes, asked.epochs, asked.seed, asked.precision)
    save_weights(asked.output, stage.network)
    write_json(
        asked.output.with_suffix(".json"),
        {
            "made by": "make start",
            "sha256": hashlib.sha256(asked.output.read_bytes()).hexdigest(),
            "kind": kind(),
            "size": SIZE,
            **told,
            "versions": {"scenes": CAMERA, "torch": torch.__version__, "numpy": np.__version__},
            "machine": f"{platform.machine()}, {asked.threads} threads",
            "spreads": asdict(Spreads()) | asdict(Camera()),
        },
    )


if __name__ == "__main__":
    main()

"""``data=scenes``: photographs of random scenes, drawn into the store."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import PIL

from twostage.data.camera import CAMERA, Camera, photograph_scenes, scene_targets
from twostage.data.photographs import Photographs, Request, refuse_impossible
from twostage.data.scenes import Spreads
from twostage.data.store import Rows, open_store
from twostage.tables.table import Table

__all__ = ["load"]


def load(request: Request) -> Photographs:
    """Photographs of random scenes."""
    count, size, seed = request.data.count, request.image.size, request.seed

    def fill(rows: range) -> tuple[np.ndarray, dict[int, str]]:
        return photograph_scenes(rows, size, seed).pixels, {}

    content = {
        "made by": [CAMERA, np.__version__, PIL.__version__],
        "scenes": asdict(Spreads()),
        "camera": asdict(Camera()),
        "seed": seed,
        "count": count,
    }
    store = open_store(request.cache_dir, content, count, size, fill, request.progress)
    names = [f"scene_{i:06d}" for i in range(count)]
    table = Table(names, [], scene_targets(range(count), seed))
    refuse_impossible(table, request.data)
    return Photographs(table, Rows(store.pixels, np.arange(count)), [], store, {}, [])

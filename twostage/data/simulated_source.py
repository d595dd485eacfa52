"""``data=simulated``: photographs of the simulated assay, drawn into the store."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from twostage.data.photographs import Photographs, Request, refuse_impossible
from twostage.data.simulated import LAWS, SIMULATOR, averaged, render_photographs, sample_targets
from twostage.data.store import Rows, open_store
from twostage.errors import DataError
from twostage.tables.table import Table

__all__ = ["load"]


def load(request: Request) -> Photographs:
    """Simulated photographs.

    Raises:
        DataError: The range of concentrations is none.
    """
    data, size, seed = request.data, request.image.size, request.seed
    if not 0 <= data.low < data.high or (data.spacing == "log_uniform" and data.low == 0):
        raise DataError(f"data.low={data.low:g} must be positive and below data.high={data.high:g}")
    targets = sample_targets(data.count, data.low, data.high, data.spacing, seed)
    assay, card, pixels = LAWS[data.law](), data.reference == "card", data.pixels or size

    def fill(rows: range) -> tuple[np.ndarray, dict[int, str]]:
        some = targets[rows.start : rows.stop]
        taken = render_photographs(some, pixels, seed, assay=assay, card_visible=card, first=rows.start)
        return averaged(taken, size), {}

    content = {
        "made by": [SIMULATOR, np.__version__],
        "assay": asdict(assay),
        "seed": seed,
        "card": card,
        "targets": [data.low, data.high, data.spacing],
        "count": data.count,
    }
    if pixels != size:
        content["pixels"] = pixels
    store = open_store(request.cache_dir, content, data.count, size, fill, request.progress)
    names = [f"simulated_{i:06d}" for i in range(data.count)]
    rows = Rows(store.pixels, np.arange(data.count))
    table = Table(names, [], targets)
    refuse_impossible(table, data)
    return Photographs(table, rows, [], store, {}, [])

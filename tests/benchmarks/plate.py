"""Reading a table of boxes, 20 photographs of 96 wells each, beside the same wells as pixels that need no decoding."""

import numpy as np
from common import median, seconds, twostage
from PIL import Image

from twostage.data.simulated import render_photographs, sample_targets

PHOTOGRAPHS, ROWS, COLUMNS, WELL = 20, 8, 12, 96


def run(work):
    from twostage import Predictor
    from twostage.tables.new_photographs import read_new

    table = plates(work / "plates")
    if not (work / "outputs" / "predict" / "metrics.json").is_file():
        # what the weights are does not change the speed
        twostage(work, "train", "run=predict", "data.count=200", "train.epochs=2", "runtime.precision=float32")
    predictor = Predictor.load(work / "outputs" / "predict")
    size = predictor.model.config.image.size
    pixels = np.zeros((PHOTOGRAPHS * ROWS * COLUMNS, size, size, 3), np.uint8)

    def read_table():
        listed, _ = read_new(str(table), "image", None, "target", ["x", "y", "w", "h"])
        return predictor.predict(listed.paths, listed.boxes)

    statuses = set(read_table().status)
    rounds = [(seconds(read_table), seconds(lambda: predictor.predict(pixels))) for _ in range(3)]
    return [
        {
            "boxes": len(pixels),
            "seconds": round(median([one for one, _ in rounds]), 2),
            "seconds_without_decoding": round(median([bare for _, bare in rounds]), 2),
            "ratio": round(median([one / bare for one, bare in rounds]), 3),
            "photographs": f"{PHOTOGRAPHS} JPEG of {COLUMNS * WELL + 48}x{ROWS * WELL + 32}, 8 views",
            "statuses": ", ".join(sorted(statuses)),
        }
    ]


def plates(folder):
    """A table of wells in photographs."""
    table = folder / "plates.csv"
    if table.is_file():
        return table
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,target,x,y,w,h"]
    for k in range(PHOTOGRAPHS):
        targets = sample_targets(ROWS * COLUMNS, 80, 350, "uniform", k)
        wells = render_photographs(targets, WELL, k).reshape(ROWS, COLUMNS, WELL, WELL, 3)
        plate = np.pad(np.concatenate(np.concatenate(wells, 1), 1), ((16, 16), (24, 24), (0, 0)), constant_values=230)
        Image.fromarray(plate).save(folder / f"{k}.jpg", quality=92)
        corners = [(24 + WELL * j, 16 + WELL * i) for i in range(ROWS) for j in range(COLUMNS)]
        lines += [f"{k}.jpg,{t:.3f},{x},{y},{WELL},{WELL}" for t, (x, y) in zip(targets, corners, strict=True)]
    table.write_text("\n".join(lines) + "\n")
    return table

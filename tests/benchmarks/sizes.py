"""Does the size of a photograph shift its reading? The default model on the same scenes, taken at several sizes.

It is trained on photographs of 64 pixels (`twostage train`, seed 0, one thread). The scenes are 150 that it has not
seen; noise is drawn anew at every size. `turned` is the largest difference between the four quarter turns of one
photograph, of 60.
"""

import numpy as np
import torch
from common import twostage

SIZES = (64, 128, 192, 250, 256, 300, 1000)
COUNT, TURNED, SEED, AT_A_TIME = 150, 60, 4321, 25


def run(work):
    from twostage import Predictor
    from twostage.data.simulated import render_photographs, sample_targets

    torch.set_num_threads(1)
    folder = work / "outputs" / "sizes"
    twostage(work, "train", f"run={folder}", "runtime.threads=1", "runtime.progress=false")
    predictor, targets = Predictor.load(folder, device="cpu"), sample_targets(COUNT, 80, 350, "uniform", SEED)

    def read(pixels):
        parts = [pixels[start : start + AT_A_TIME] for start in range(0, len(pixels), AT_A_TIME)]
        return np.concatenate([predictor.predict(np.ascontiguousarray(part)).concentration for part in parts])

    rows = []
    for size in SIZES:
        pixels = render_photographs(targets, size, SEED)
        error = read(pixels) - targets
        turns = np.array([read(np.rot90(pixels[:TURNED], k, (1, 2))) for k in range(4)])
        row = {"pixels": size, "bias": error.mean(), "rmse": np.sqrt(np.mean(error**2))}
        rows.append({name: round(float(value), 4) for name, value in row.items()} | {"turned": np.ptp(turns, 0).max()})
    return rows

"""Why specimens must stay together: the same photographs, split at random and split by specimen."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from twostage import load_config, train
from twostage.data.simulated import render_photographs

rng = np.random.default_rng(0)
shown = rng.uniform(80, 350, 24)  # what each specimen's colour says
measured = shown + rng.normal(0, 20, 24)  # what the table says: turbid specimens, for example, have another colour
folder, rows = Path("leaks"), []
folder.mkdir(exist_ok=True)
for number, pixels in enumerate(render_photographs(shown, 64, seed=2)):
    for shot in range(6):  # six shots of one specimen are nearly copies
        noisy = pixels + rng.normal(0, 2, pixels.shape)
        path = folder / f"{number:02d}-{shot}.png"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        rows.append((path, measured[number], number))
pd.DataFrame(rows, columns=["image", "target", "group"]).to_csv("leaks.csv", index=False)

options = ["data=csv", "data.table=leaks.csv", "split.test=0.25", "bins.count=3", "train.images=2000", *sys.argv[1:]]
for name, more in (("random", ["split.duplicates=ignore"]), ("specimen", ["data.group_column=group"])):
    metrics = train(load_config([*options, *more, f"run=split_by_{name}"]))
    print(f"split by {name:<9} ridge {metrics['rmse_colour_baseline']:5.1f}   two stages {metrics['rmse']:5.1f}")

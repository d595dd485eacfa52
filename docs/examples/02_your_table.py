"""From a table of photographs to readings. The photographs are simulated here: put your own table in their place."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from twostage import Predictor, load_config, train
from twostage.data.simulated import render_photographs

folder = Path("photos")
folder.mkdir(exist_ok=True)
specimens = np.linspace(80, 350, 40)  # their concentrations; each is photographed three times
targets = specimens.repeat(3)
paths = [folder / f"{i:03d}.png" for i in range(len(targets))]
for path, pixels in zip(paths, render_photographs(targets, 64, seed=1), strict=True):
    Image.fromarray(pixels).save(path)
table = pd.DataFrame({"image": paths, "target": targets, "group": [f"specimen-{i // 3}" for i in range(len(targets))]})
table.to_csv("photos.csv", index=False)

options = [
    "data=csv",
    "data.table=photos.csv",
    "data.group_column=group",
    "data.unit=mg/L",
    "bins.count=3",
    "run=table",
]
metrics = train(load_config([*options, "train.images=4000", *sys.argv[1:]]))
print(f"{metrics['n_test']} photographs of new specimens are read with an RMSE of {metrics['rmse']:.3g} mg/L")

prediction = Predictor.load("outputs/table").predict(paths[60:63])
print(prediction.to_frame([path.name for path in paths[60:63]])[["image", "concentration", "status"]])

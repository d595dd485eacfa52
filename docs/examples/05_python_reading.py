"""Read photographs from Python: paths, PIL images or arrays; one that cannot be read is refused, not guessed."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from twostage import Predictor, load_config, train
from twostage.data.simulated import render_photographs

train(load_config(["experiment=smoke", "run=reader", *sys.argv[1:]]))
predictor = Predictor.load("outputs/reader", device="cpu")

pixels = render_photographs(np.array([100.0, 200.0, 300.0]), 32, seed=3)  # uint8 (3,32,32,3)
print("an array: ", predictor.predict(pixels).concentration.round(1))
print("PIL images:", predictor.predict([Image.fromarray(one) for one in pixels]).concentration.round(1))

Image.fromarray(pixels[0]).save("good.png")
Path("broken.jpg").write_bytes(b"this is no photograph")
prediction = predictor.predict(["good.png", "broken.jpg"])
for concentration, status, reason in zip(prediction.concentration, prediction.status, prediction.reason, strict=True):
    print(f"{concentration:8.1f}  {status}  {reason}")
print("the likeliest bins:", prediction.bin_index, "of", prediction.bin_probabilities.shape[1])

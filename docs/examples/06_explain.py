"""See one reading, and what moves it: the bins, the interval, the masks, and squares that are covered in turn."""

import sys

import numpy as np

from twostage import Predictor, load_config, train
from twostage.data.simulated import render_photographs

train(load_config(["experiment=smoke", "run=explained", *sys.argv[1:]]))
predictor = Predictor.load("outputs/explained", device="cpu")
photograph = render_photographs(np.array([120.0]), 32, seed=3)[0]  # uint8 (32,32,3)

prediction = predictor.predict([photograph])
print("\n".join(prediction.in_words(0)))
prediction.plot(0).savefig("reading.png")

explanation = predictor.explain(photograph, detail=8)
explanation.save("explained.png")
row, column = np.unravel_index(np.abs(explanation.concentration).argmax(), explanation.concentration.shape)
moved = explanation.concentration[row, column]
print(f"most moves the square in row {row}, column {column} of 8 x 8: covered, it reads {moved:+.3g} units")

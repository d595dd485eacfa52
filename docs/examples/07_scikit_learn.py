"""Train as an estimator of scikit-learn: cross-validation that keeps specimens together, intervals, a model folder."""

import logging

import numpy as np
from sklearn.model_selection import GroupKFold, cross_val_predict

from twostage import TwoStageRegressor
from twostage.data.simulated import render_photographs

logging.getLogger("twostage").setLevel("ERROR")  # what there is to be said of so few photographs is said for every fold

y = np.repeat(np.random.default_rng(0).uniform(80, 350, 48), 2)  # 48 specimens, 2 photographs of each
groups = np.repeat(np.arange(48), 2)
X = render_photographs(y, 32, seed=0)  # uint8 (96,32,32,3); a list of paths does as well

regressor = TwoStageRegressor(size=32, train="instant", options={"split.calibration": 0.25})  # no gradients: seconds
found = cross_val_predict(regressor, X, y, groups=groups, cv=GroupKFold(2), params={"groups": groups})
print(f"RMSE of specimens that the model has not seen: {np.sqrt(np.mean((found - y) ** 2)):.3g}")

regressor.fit(X, y, groups=groups)
for values in zip(*regressor.predict(X[:6:2], return_interval=True), strict=True):
    print("{:.0f}, between {:.0f} and {:.0f}".format(*values))

regressor.save("outputs/scikit_learn")  # a model folder: twostage predict run=outputs/scikit_learn reads it
print(f"R2 of the photographs it has learned from: {TwoStageRegressor.load('outputs/scikit_learn').score(X, y):.3f}")

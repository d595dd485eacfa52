"""Train as an estimator of scikit-learn: cross-validation that keeps specimens together, intervals, a model folder."""

import numpy as np
from sklearn.model_selection import GroupKFold, cross_val_predict

from twostage import TwoStageRegressor
from twostage.data.simulated import render_photographs

y = np.repeat(np.random.default_rng(0).uniform(80, 350, 20), 4)  # 20 specimens, 4 photographs of each
groups = np.repeat(np.arange(20), 4)
X = render_photographs(y, 32, seed=0)  # uint8 (80,32,32,3); a list of paths does as well

regressor = TwoStageRegressor(bins=3, size=32, epochs=4, options={"split.calibration": 0.45})
found = cross_val_predict(regressor, X, y, groups=groups, cv=GroupKFold(3), params={"groups": groups})
print(f"RMSE of specimens that the model has not seen: {np.sqrt(np.mean((found - y) ** 2)):.3g}")

regressor.fit(X, y, groups=groups)
for values in zip(*regressor.predict(X[:3], return_interval=True), strict=True):
    print("{:.0f}, between {:.0f} and {:.0f}".format(*values))

regressor.save("outputs/scikit_learn")  # a model folder: twostage predict run=outputs/scikit_learn reads it
print(f"R2 of the photographs it has learned from: {TwoStageRegressor.load('outputs/scikit_learn').score(X, y):.3f}")

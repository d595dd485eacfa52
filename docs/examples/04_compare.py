"""Rank several methods on the same photographs, with intervals."""

import sys

from twostage import load_config
from twostage.studies.comparison import compare

options = [
    "data.count=400",
    "image.size=32",
    "compare.minutes=null",
    "train.epochs=12",
    "compare.methods=[mean,ridge,extra_trees,direct,two_stage_mixture]",
    "run=comparison",
]
print(compare(load_config([*options, *sys.argv[1:]], command="compare")))

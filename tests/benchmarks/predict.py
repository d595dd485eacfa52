"""Reading photographs: one, and a thousand, decoding and both stages included, beside the bare networks."""

import time

import numpy as np
from common import files_of, median, photographs, twostage

COUNT = 1000


def run(work):
    from twostage import Predictor

    table = photographs(work / "photographs", 1024)
    if not (work / "outputs" / "predict" / "metrics.json").is_file():
        # what the weights are does not change the speed
        twostage(work, "train", "run=predict", "data.count=200", "train.epochs=2", "runtime.precision=float32")
    predictor = Predictor.load(work / "outputs" / "predict")
    files = files_of(table)[:COUNT]
    predictor.predict(files[:8])
    one = median([seconds(lambda i=i: predictor.predict([files[i]])) for i in range(30)]) * 1000
    size = predictor.model.config.image.size
    pixels = np.zeros((COUNT, size, size, 3), np.uint8)
    thousand, bare = [], []
    for _ in range(5):
        thousand.append(seconds(lambda: predictor.predict(files)))
        bare.append(seconds(lambda: predictor.model.network.read(pixels)))
    return [
        {
            "milliseconds_for_one": round(one, 1),
            "images_per_second": round(COUNT / median(thousand), 1),
            "forward_images_per_second": round(COUNT / median(bare), 1),
            "ratio_to_forward": round(median(bare) / median(thousand), 3),
            "photographs": f"{COUNT} JPEG of 250x250, 8 views",
        }
    ]


def seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin

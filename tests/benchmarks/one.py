"""One photograph from Python beside the bare forward and its decoding, and how long ``import twostage`` takes.

Of the readings, on one thread, the least of many processor times counts, in which other work on the machine is not;
of the processes the least of a few times as they pass.
"""

import subprocess
import sys
import time

import numpy as np
import torch
from common import photographs, twostage

TIMES = 60
IMPORTS = 7
TIMED = "import time; begin = time.perf_counter(); import twostage; print(time.perf_counter() - begin)"
FIRST = (
    "import time; begin = time.perf_counter(); from twostage import Predictor; "
    "Predictor.load('outputs/one_8').predict(['photographs/00000.jpg']); print(time.perf_counter() - begin)"
)


def run(work):
    from twostage import Predictor
    from twostage.data.images import decode_photograph

    torch.set_num_threads(1)
    file = photographs(work / "photographs", 1024).parent / "00000.jpg"
    rows = []
    for views in (8, 1):
        folder = work / "outputs" / f"one_{views}"
        if not (folder / "metrics.json").is_file():
            # what the weights are does not change the speed
            options = ["data.count=200", "train.epochs=2", "runtime.precision=float32", f"combine.views={views}"]
            twostage(work, "train", f"run={folder.name}", *options)
        predictor = Predictor.load(folder, "cpu")
        model, image = predictor.model, predictor.model.config.image
        pixels = decode_photograph(file, image.size, image.fit)[None]
        sources = {"array": pixels, "path, JPEG of 250x250": [file]}
        for kind, source in sources.items():

            def bare(source=source, model=model, image=image, pixels=pixels):
                if source is not pixels:
                    decode_photograph(file, image.size, image.fit)
                model.network.read(pixels, views=model.config.views)

            least = in_turn(bare, lambda source=source, predictor=predictor: predictor.predict(source))
            row = {"case": f"predict, {kind}, {views} view" + "s" * (views > 1)}
            rows.append(row | {"ms": rounded(least[1]), "bare_ms": rounded(least[0]), "ratio": ratio(least)})
    for case, code in {"import twostage": TIMED, "import, load and read the first": FIRST}.items():
        rows.append({"case": case, "ms": rounded(min(fresh(code, work) for _ in range(IMPORTS)))})
    return rows


def in_turn(*works):
    """The least processor time of each, in seconds."""
    times = np.array([[seconds(work) for work in works] for _ in range(TIMES)])
    return times[5:].min(0)


def seconds(work):
    begin = time.process_time()
    work()
    return time.process_time() - begin


def ratio(least):
    return round(float(least[1] / least[0]), 2)


def rounded(time):
    return round(1000 * float(time), 2)


def fresh(code, work):
    done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=True)
    return float(done.stdout)

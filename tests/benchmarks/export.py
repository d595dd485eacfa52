"""Does an exported file read as the predictor does, with every backbone and pooling? How large, how fast is it?

Without options on the simulated assay; ``export data=csv data.table=labels.csv data.group_column=group`` on photographs
of a table, once per seed. Trainings are tiny: what is compared is arithmetic, not accuracy. A model that cannot be
exported has the reason in its row.
"""

import time

import torch
from common import twostage

BACKBONES = (
    "compact",
    "vgg",
    "inception",
    "p4",
    "p4m",
    "steerable",
    "mixed_scale",
    "resnet10t",
    "resnet18",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "convnext_atto",
    "densenet121",
    "regnetx_002",
)
CASES = [(name, "surfaces") for name in BACKBONES] + [("compact", pooling) for pooling in ("masks", "mean", "flatten")]
TINY = ["train.epochs=4", "train.batch_size=8", "split.train_share=0.5", "start=none", "intervals.confidence=0.6"]
FIRST = ["train.final=part", "runtime.threads=1", "runtime.progress=false", "runtime.precision=float32"]


def run(work, options=()):
    from twostage import Predictor
    from twostage.errors import TwoStageError

    torch.set_num_threads(1)
    source = [] if any(text.startswith("data=") for text in options) else ["data.count=120", "image.size=64"]
    rows = []
    for name, pooling in CASES:
        folder = work / "outputs" / f"export_{name}_{pooling}"
        try:
            chosen = [f"run={folder}", f"backbone={name}", f"pooling={pooling}"]
            twostage(work, "train", *FIRST, *TINY, *source, *options, *chosen)
            rows.append({"backbone": name, "pooling": pooling} | measured(Predictor.load(folder, device="cpu")))
        except (TwoStageError, SystemExit) as error:
            rows.append({"backbone": name, "pooling": pooling, "refused": str(error)[-200:]})
    return rows


def measured(predictor):
    from twostage.export.onnx_file import to_onnx
    from twostage.export.photographs import photographs_for
    from twostage.export.proof import open_file, prove, read_file

    content, seconds = cpu_seconds(lambda: to_onnx(predictor.model))
    pixels, _ = photographs_for(predictor.model.config)
    found, session = prove(predictor, content, pixels), open_file(content)
    read_file(session, pixels)
    return {
        "photographs": found.count,
        "concentration": float(f"{found.concentration:.1e}"),
        "ends": None if found.ends is None else float(f"{found.ends:.1e}"),
        "probability": float(f"{found.probability:.1e}"),
        "at_threshold": found.at_threshold,
        "megabytes": round(len(content) / 1e6, 2),
        "ms_file": round(1000 * cpu_seconds(lambda: read_file(session, pixels))[1] / len(pixels), 1),
        "ms_predictor": round(1000 * cpu_seconds(lambda: predictor.read(pixels))[1] / len(pixels), 1),
        "seconds_to_export": round(seconds, 1),
    }


def cpu_seconds(work):
    """What it gives, and the time of one processor that it took, whatever else the machine does."""
    begin = time.process_time()
    found = work()
    return found, time.process_time() - begin

"""Tables and model folders changed at random: refused in one line, or read as what they still say.

`tables`: 10,000 changes of tables of photographs, written in five ways. A row that stands in the changed file letter by
letter, below the header as it was, must give the number that it gave. `models`: 200 changes of a model folder. One that
loads must read as the sound one does.
"""

import resource
import time
from pathlib import Path

import numpy as np
import torch

WAYS = {  # the separator, and how a number is written
    "point": (",", lambda value: f"{value:.2f}"),
    "comma": (";", lambda value: f"{value:.2f}".replace(".", ",")),
    "thousands": (",", lambda value: f'"{round(10 * value):,}"'),
    "both": ("\t", lambda value: f"{10 * value:,.1f}".translate(str.maketrans(",.", ".,"))),
    "unit": (",", lambda value: f"{value:.2f} mg/L"),
}
SIGNS = (b",", b";", b'"', b"\n", b"\0", b"\t", b"1e999", b"-", b"\xff\xfe", b"${x}")


def mutated(content, rng):
    """The content with one to three random changes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(max(len(data), 1))), int(rng.integers(1, 9))
        kind = rng.integers(6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length]
        elif kind == 3:
            data[at:at] = SIGNS[rng.integers(len(SIGNS))]
        elif kind == 4:
            data[at : at + length] = rng.bytes(length)
        else:
            del data[at:]
    return bytes(data)


def row_of(kind, outcomes, seconds):
    """A row of the bench's table from ("read" | "refused" | "other" | "changed") for each file."""
    count = {name: outcomes.count(name) for name in ("read", "refused", "other", "changed")}
    return {
        "set": kind,
        "files": len(outcomes),
        "read": count["read"],
        "refused": count["refused"],
        "other_pixels": 0,
        "other_exceptions": count["other"],
        "sound_changed": count["changed"],
        "worst_seconds": round(max(seconds), 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def tried(read, sound):
    """What becomes of a file: it is read as it says, refused in one line, or neither."""
    from twostage.errors import TwoStageError

    try:
        return "read" if sound(read()) else "changed"
    except TwoStageError as error:
        return "other" if "\n" in str(error) else "refused"
    except Exception as error:
        print(f"{type(error).__name__}: {error}"[:200])
        return "other"


def measure_tables(count, folder, seed=0):
    from twostage.tables.table import read_table

    rng, path = np.random.default_rng(seed), Path(folder) / "t.csv"
    written = {}
    for way, (separator, number) in WAYS.items():
        rows = [(f"p{i:02d}.png", number(80 + 9.5 * i), f"g{i // 4}") for i in range(28)]
        written[way] = "\n".join(map(separator.join, [("image", "target", "group"), *rows])) + "\n"
    outcomes, seconds = [], []
    for k in range(count):
        text = written[list(written)[k % len(written)]]
        header, *lines = text.splitlines()
        path.write_text(text)
        values = read_table(path, "image", "target", "group").targets
        known = {f"p{i:02d}.png": (line, value) for i, (line, value) in enumerate(zip(lines, values, strict=True))}
        content = mutated(text.encode(), rng)
        path.write_bytes(content)
        stands = set(content.decode("latin-1").splitlines())

        def sound(table, stands=stands, known=known, header=header):
            rows = zip(table.images, table.targets, strict=True)
            return header not in stands or all(
                target == known[image][1] for image, target in rows if image in known and known[image][0] in stands
            )

        begin = time.perf_counter()
        outcomes.append(tried(lambda: read_table(path, "image", "target", "group"), sound))
        seconds.append(time.perf_counter() - begin)
    return row_of("tables", outcomes, seconds)


def measure_models(count, folder, seed=0):
    from twostage import Bins, load_config
    from twostage.model_folder import load_model, save_description
    from twostage.stages.build import build_stage
    from twostage.stages.weights import save_weights

    tiny = ["image.size=32", "backbone.widths=[4,6]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]", "run=x"]
    config, bins, path = load_config(tiny), Bins.uniform(80, 350, 3), Path(folder) / "model"
    for name in ("classifier", "regressor"):
        save_weights(path / f"{name}.safetensors", build_stage(name, config, bins))
    save_description(path, config, bins)
    whole = {file.name: file.read_bytes() for file in path.iterdir()}
    rng, cpu = np.random.default_rng(seed), torch.device("cpu")
    pixels = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    right = load_model(path, cpu).network.read(pixels)
    outcomes, seconds = [], []
    for _ in range(count):
        name = sorted(whole)[rng.integers(len(whole))]
        (path / name).write_bytes(mutated(whole[name], rng))
        begin = time.perf_counter()
        outcomes.append(
            tried(
                lambda: load_model(path, cpu).network.read(pixels),
                lambda reading: all(np.array_equal(a, b) for a, b in zip(reading, right, strict=True)),
            )
        )
        seconds.append(time.perf_counter() - begin)
        (path / name).write_bytes(whole[name])
    return row_of("models", outcomes, seconds)

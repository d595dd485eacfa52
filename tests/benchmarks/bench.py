"""Benches by name: ``make bench ARGS="throughput predict"``; without a name all but those that take hours.

Each writes outputs/bench/NAME.json and prints it as a table. Options such as ``accuracy train.minutes=2`` go to a bench
that takes them, and into the name of its file.
"""

import argparse
import inspect
import json
import os
import platform
from pathlib import Path

import accuracy
import angles
import another_day
import decoding
import ends
import engine
import export
import few
import fits
import founding
import limit
import memory
import million
import mutations
import neighbours
import one
import page
import pandas as pd
import plate
import predict
import resume
import search
import serve
import sizes
import symmetry
import throughput
import torch
import torchrun
import trust

BENCHES = {
    "throughput": throughput.run,
    "decoding": decoding.run,
    "predict": predict.run,
    "one": one.run,
    "serve": serve.run,
    "plate": plate.run,
    "million": million.run,
    "mutations": mutations.run,
    "neighbours": neighbours.run,
    "resume": resume.run,
    "torchrun": torchrun.run,
    "memory": memory.run,
    "symmetry": symmetry.run,
    "sizes": sizes.run,
    "fits": fits.run,
    "few": few.run,
    "limit": limit.run,
    "accuracy": accuracy.run,
    "angles": angles.run,
    "founding": founding.run,
    "ends": ends.run,
    "trust": trust.run,
    "another_day": another_day.run,
    "page": page.run,
    "export": export.run,
    "search": search.run,
    "engine": engine.run,
}
WITH_OPTIONS = {
    name for name, work in BENCHES.items() if {"options", "overrides"} & {*inspect.signature(work).parameters}
}
LONG = WITH_OPTIONS | {"fits", "sizes"}
RESULTS = Path("outputs/bench")


def machine():
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "processor": f"{platform.machine()} {capability}",
        "cores": len(os.sched_getaffinity(0)),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}, or an option as NAME=VALUE")
    words = parser.parse_args().names
    options = [word for word in words if "=" in word]
    names = [word for word in words if "=" not in word] or [name for name in BENCHES if name not in LONG]
    for name in names:
        if name not in BENCHES:
            parser.error(f"no bench '{name}': there are {', '.join(BENCHES)}")
        if options and name not in WITH_OPTIONS:
            raise SystemExit(
                f"bench.py: {name} takes no options ({options[0]}), unlike {', '.join(sorted(WITH_OPTIONS))}"
            )
    RESULTS.mkdir(parents=True, exist_ok=True)
    wrong = []
    for name in names:
        rows = BENCHES[name]((RESULTS / "work").resolve(), *([options] if options else []))
        path = RESULTS / ("_".join([name, accuracy.variant(options)] if options else [name]) + ".json")
        path.write_text(json.dumps({"machine": machine(), "results": rows}, indent=2) + "\n")
        print(f"\n{name} ({path}):\n{pd.DataFrame(rows).to_string(index=False)}\n", flush=True)
        wrong += [name] if any(row.get("differences") or row.get("leftovers") for row in rows) else []
    if wrong:
        raise SystemExit(f"{', '.join(wrong)}: there are differences or leftovers")


if __name__ == "__main__":
    main()

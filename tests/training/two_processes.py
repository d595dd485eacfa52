"""Run by torchrun, and alone, in tests: three epochs of each stage in float64; the first process prints the curves."""

import json
from dataclasses import replace

import numpy as np
import torch

import twostage.training.fit as loop
from twostage import Bins, load_config
from twostage.data.simulated import render_photographs
from twostage.stages.build import build_classifier, build_regressor
from twostage.training.course import Course, Examples
from twostage.training.distributed import (
    gather,
    is_first_process,
    join_processes,
    process_count,
    process_number,
)
from twostage.training.fit import fit


def fail_once(stage):
    loss, asked = stage.loss, []

    def failing(images, targets, *more):
        asked.append(1)
        wrong = len(asked) == 2 and process_number() == process_count() - 1
        return loss(images, targets, *more) * (torch.nan if wrong else 1)

    stage.loss = failing
    return stage


def main():
    in_float32 = loop.to_color
    loop.to_color = lambda srgb, color: in_float32(srgb, color).double()
    torch.set_num_threads(1)
    join_processes()
    set_seed, seeds = torch.manual_seed, []
    torch.manual_seed = lambda seed: [seeds.append(seed), set_seed(seed)][1]
    bins = Bins.uniform(80, 350, 3)
    targets = np.random.default_rng(0).uniform(80, 350, 60)
    pixels = render_photographs(targets, 32, 0)
    curves = []
    # resnet10t, which is slow, has batch norms all over: one stage is enough to see that they are shared
    for backbone, builds in (("compact", (build_classifier, build_regressor)), ("resnet10t", (build_regressor,))):
        for build in builds:
            overrides = [f"backbone={backbone}", "image.size=32", "augment=any_angle", "augment.noise=0.02", "run=x"]
            config = load_config(overrides)
            stage = build(config, bins).double()  # the regressor's loss asks for the mean of the whole batch
            learned = stage.targets(targets).double()
            train, validation = (
                Examples([str(i) for i in range(60)][rows], pixels[rows], targets[rows], learned[rows])
                for rows in (slice(0, 49), slice(49, 60))  # neither is a multiple of the batch or of the processes
            )
            course = Course(config.train, 3, "stage", config.image.color, config.augment, progress=False)
            for fails in (False, True) if backbone == "compact" else (True,):
                if fails:  # in its second step, once, in the last process
                    stage = fail_once(build(config, bins).double())
                    course = replace(course, options=replace(config.train, retry=True))
                history = fit(stage, train, validation, course)
                curves.append([[row.train_loss, row.validation_rmse] for row in history])
    if process_count() > 1:
        first, second = np.split(gather(np.array(seeds)), 2)
        assert set(first) & set(second) == {config.seed}, "dropout must differ between processes"
    if is_first_process():
        print(json.dumps(curves))


if __name__ == "__main__":
    main()

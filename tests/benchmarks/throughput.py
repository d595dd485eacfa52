"""Images per second in training, beside the bare computation and beside a plain torch DataLoader.

Each case runs in a process of its own. `compute` is forward, backward and step on one batch that never changes, in the
number format and layout that training chose. The plain loader is what most people write: it decodes with PIL and
transforms with torchvision, one photograph after another, in two workers, and feeds the same network as torch makes it
(float32, contiguous); `same_plan` is that loader with the network in the format that training chose. Medians of five
rounds; the ratios are those within a round, where `compute` is measured before and after. Training's figure is that of
history.csv: an epoch with its validation; checkpoints, which may cost a 50th of the time, are not in it.
"""

import copy
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from common import files_of, median, photographs
from PIL import Image
from torch.utils.data import DataLoader, Dataset

CASES = (("resnet10t", 64), ("resnet18", 64), ("vgg", 64), ("resnet18", 128), ("compact", 64))
IMAGES, SOME, ROUNDS = 1024, 256, 5


def run(work):
    photographs(work / "photographs", IMAGES)
    rows = []
    for name, size in CASES:
        command = [sys.executable, __file__, str(work), name, str(size)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(rows[-1], flush=True)
    return rows


class PlainPhotographs(Dataset):
    """What most people write."""

    def __init__(self, files, targets, size):
        from torchvision import transforms

        turns = [transforms.RandomRotation((angle, angle)) for angle in (0, 90, 180, 270)]
        self.files, self.targets = files, targets
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomVerticalFlip(),
                transforms.RandomChoice(turns),
                transforms.ToTensor(),
            ]
        )

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i]).convert("RGB")), self.targets[i]


def measure(work, name, size):
    from twostage import load_config
    from twostage.backbones.timm_package import import_timm
    from twostage.data.color import to_color, to_srgb
    from twostage.run.preparation import prepare
    from twostage.stages.build import build_classifier
    from twostage.training.checkpoint import Checkpoint
    from twostage.training.course import Course
    from twostage.training.fit import fit
    from twostage.training.optimizer import build_optimizer
    from twostage.training.precision import Plan, apply_plan, choose_plan

    import_timm()  # makes torchvision importable where it does not fit torch
    table = work / "photographs" / "photos.csv"
    overrides = ["data=csv", f"data.table={table}", f"backbone={name}", f"image.size={size}", "bins.range=[80,350]"]
    config = load_config([*overrides, f"runtime.cache_dir={work / 'cache'}", f"run={work / 'run'}"])
    prepared = prepare(config, work / "run")
    stage, device, batch = build_classifier(config, prepared.bins), prepared.device, config.train.batch_size
    prepared.parts[:], prepared.parts[-batch:] = "train", "validation"
    train, validation = prepared.examples("train", stage), prepared.examples("validation", stage)
    still = to_color(to_srgb(train.pixels[:batch], device), config.image.color), train.targets[:batch].to(device)
    plan = choose_plan(stage.to(device), *still, config.runtime.precision)

    def a_step(model, optimizer, images, learned):
        optimizer.zero_grad(set_to_none=True)
        model.loss(images, learned).backward()
        optimizer.step()

    def fresh(plan):
        model = copy.deepcopy(stage).train()
        apply_plan(plan, model)
        model.to(device)
        return model, build_optimizer(model, 3e-3, 0.01)

    def synchronize():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def engine():
        model, folder = copy.deepcopy(stage), work / "checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        course = Course(
            config.train, 1, "bench", config.image.color, config.augment, device=device, plan=plan, progress=False
        )
        return fit(model, train, validation, course, Checkpoint(folder))[0].images_per_second

    def compute():
        model, optimizer = fresh(plan)
        a_step(model, optimizer, *still)
        begin = time.perf_counter()
        for _ in range(SOME // batch):
            a_step(model, optimizer, *still)
        synchronize()
        return SOME / (time.perf_counter() - begin)

    plain_data = PlainPhotographs(files_of(table)[: SOME + batch], stage.targets(table.targets), size)
    loader = DataLoader(plain_data, batch, shuffle=True, num_workers=2, persistent_workers=True)

    def plain(plan=Plan("float32", channels_last=False)):  # noqa: B008
        model, optimizer = fresh(plan)
        batches = iter(loader)
        next(batches)  # the workers' start is not counted
        begin = time.perf_counter()
        for images, learned in batches:
            a_step(model, optimizer, to_color(images.to(device), config.image.color), learned.to(device))
        synchronize()
        return SOME / (time.perf_counter() - begin)

    def plain_same_plan():
        return plain(plan)

    engine()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kinds = (compute, engine, compute, plain, plain_same_plan)
    rounds = np.array([[kind() for kind in kinds] for _ in range(ROUNDS)])
    computed, trained, loaded, loaded_alike = rounds[:, [0, 2]].mean(1), *rounds[:, [1, 3, 4]].T
    return {
        "backbone": name,
        "size": size,
        "plan": str(plan),
        "batch_size": batch,
        "images_per_second": round(median(trained), 1),
        "compute_images_per_second": round(median(computed), 1),
        "plain_loader_images_per_second": round(median(loaded), 1),
        "same_plan_images_per_second": round(median(loaded_alike), 1),
        "ratio_to_compute": round(median(trained / computed), 3),
        "ratio_to_plain_loader": round(median(trained / loaded), 3),
        "ratio_to_same_plan": round(median(trained / loaded_alike), 3),
        "peak_memory_mb": round(peak),
        "photographs": IMAGES,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))

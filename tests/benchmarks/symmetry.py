"""How much a reading changes when the photograph is turned: plain, group-equivariant and steerable networks.

Every network is trained for the same minutes on the simulated assay, with quarter turns and flips as augmentation,
and reads 200 photographs that it has not seen, in one view each. They are simulated at four times the size, turned
there, and brought to size by averaging areas, so that the turning itself leaves little trace.
"""

import numpy as np
import torch
import torch.nn.functional as F
from common import twostage

NETWORKS = ("compact", "p4", "p4m", "steerable")
ANGLES = (15, 30, 45)
COUNT, SIZE, RANGE = 200, 64, 270.0
OPTIONS = ("data.count=3200", "train.minutes=1", "runtime.threads=1", "runtime.progress=false")


def run(work):
    from twostage import Predictor
    from twostage.stages.build import build_classifier, build_regressor
    from twostage.stages.two_stage import TwoStage

    torch.set_num_threads(1)
    rows = []
    for name in NETWORKS:
        folder = work / "outputs" / f"symmetry_{name}"
        twostage(work, "train", f"backbone={name}", f"run={folder}", *OPTIONS)
        model = Predictor.load(folder).model
        stages = [build(model.config, model.bins) for build in (build_classifier, build_regressor)]
        for stage, trained in zip(stages, (model.network.classifier, model.network.regressor), strict=True):
            stage.network.normalize(trained.network.mean, trained.network.std)
        untrained = TwoStage(model.bins, *stages, model.config.image.color)
        _adapt_batch_norm(untrained)
        rows += [_row(name, "untrained", untrained), _row(name, "trained", model.network)]
    return rows


def _adapt_batch_norm(network):
    """Statistics of real photographs, without which an untrained network says the same of all."""
    from twostage.data.color import to_color, to_srgb

    network.train()
    with torch.no_grad():
        for start in list(range(0, COUNT, 50)) * 5:
            images = to_srgb(_turned(0)[start : start + 50], torch.device("cpu"))
            network(to_color(images, network.color))


def _row(name, weights, network):
    """Changes relative to the spread between photographs, and for trained weights in units of 80..350."""
    read = {angle: _readings(network, _turned(angle)) for angle in (0, *ANGLES)}
    views = [_readings(network, view) for view in _dihedral(_turned(0))]
    spread, change = read[0].std(), {angle: np.abs(read[angle] - read[0]).mean() for angle in ANGLES}
    row = {"backbone": name, "weights": weights, "largest_over_8_views": float(np.ptp(views, axis=0).max())}
    row["in_range_of_270"] = row["largest_over_8_views"] / RANGE
    row |= {f"change_{angle}_over_spread": round(float(change[angle] / spread), 4) for angle in ANGLES}
    return row | {f"change_{angle}_units": round(float(change[angle]), 3) for angle in ANGLES}


def _readings(network, pixels):
    from twostage.stages.combination import combine

    return combine(network.bins, network.read(pixels, views=[0]))


def _dihedral(pixels):
    turned = [np.rot90(pixels, k, (1, 2)) for k in range(4)]
    return [np.ascontiguousarray(view) for view in turned + [view[:, :, ::-1] for view in turned]]


_made: dict[int, np.ndarray] = {}


def _turned(angle):
    """The unseen photographs, turned by so many degrees, uint8 (N,size,size,3)."""
    if angle not in _made:
        _made[angle] = _turn(_large(), angle)
    return _made[angle]


def _large():
    from twostage.data.simulated import render_photographs, sample_targets

    if -1 not in _made:
        _made[-1] = render_photographs(sample_targets(COUNT, 80, 350, "uniform", 999), 4 * SIZE, 999)
    return _made[-1]


def _turn(pixels, degrees):
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    theta = torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]], dtype=torch.float32).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    small = F.avg_pool2d(turned, 4)
    return small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

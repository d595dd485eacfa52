"""What is written out for want of an operator is what torch computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_ndtr as exact_log_ndtr
from torch.utils._python_dispatch import TorchDispatchMode

from twostage.export.operators import REPLACED, WrittenOut, conv2d, expm1, log_ndtr, solve

MISSING = {
    "convolution",
    "linalg_solve_ex",
    "_linalg_solve_ex",
    "upsample_bilinear2d",
    "_adaptive_avg_pool2d",
    "avg_pool2d",
    "special_log_ndtr",
    "expm1",
}
"""Operators that ONNX has not, or its runtimes not in float64."""


class Dispatched(TorchDispatchMode):
    """Notes the operators that are computed."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name().split("::")[1].split(".")[0])
        return func(*args, **(kwargs or {}))


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 2e-7)])
def test_the_normal_distribution_far_out(dtype, tolerance):
    x = torch.cat([torch.linspace(-1000, 12, 4001, dtype=dtype), torch.tensor([-0.0, 0.0, 1e-9, 40], dtype=dtype)])
    found, expected = log_ndtr(x).double().numpy(), exact_log_ndtr(x.double().numpy())
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_small_difference_from_one_keeps_its_digits(dtype):
    x = -torch.logspace(-12, 2.5, 200, dtype=dtype)
    torch.testing.assert_close(expm1(x), torch.expm1(x), rtol=5 * torch.finfo(dtype).eps, atol=0)
    assert expm1(torch.tensor(0.0)) == 0


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_solved_system_is_solved(count):
    half = random(4, 5, count, count)
    matrices = half @ half.mT + 1e-9 * torch.eye(count)
    right = random(4, 5, count, 3)
    torch.testing.assert_close(matrices @ solve(matrices, right), right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("side", [1, 3, 4])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 4, 4), (1, 0, 2), ((2, 1), (0, 2), 1)]
)
def test_convolution(size, side, stride, padding, dilation):
    images, weight, bias = random(2, 3, size, size + 3), random(5, 3, side, side), random(5)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    torch.testing.assert_close(conv2d(images, weight, bias, **options), F.conv2d(images, weight, bias, **options))
    torch.testing.assert_close(conv2d(images, weight, **options), F.conv2d(images, weight, **options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("before", "after"), [((32, 32), (16, 16)), ((33, 41), (16, 20)), ((7, 8), (9, 1)), ((5, 5), 5)]
)
def test_resizing(before, after, dtype):
    images = random(2, 3, *before, dtype=dtype)
    with WrittenOut(), Dispatched() as dispatched:
        mean = F.adaptive_avg_pool2d(images, after)
        between = F.interpolate(images, size=after, mode="bilinear", align_corners=False)
    assert not dispatched.names & MISSING
    torch.testing.assert_close(mean, F.adaptive_avg_pool2d(images, after))
    torch.testing.assert_close(between, F.interpolate(images, size=after, mode="bilinear", align_corners=False))


def test_what_has_an_operator_is_left_to_it():
    images, weight = random(2, 4, 9, 9, dtype=torch.float32), random(4, 2, 3, 3, dtype=torch.float32)
    with WrittenOut():
        grouped = torch.nn.functional.conv2d(images, weight, groups=2, padding="same")
        nearest = F.interpolate(images, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(grouped, F.conv2d(images, weight, groups=2, padding="same"))
    torch.testing.assert_close(nearest, F.interpolate(images, scale_factor=2.0, mode="nearest"))
    assert all(map(callable, REPLACED))

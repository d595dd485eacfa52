"""What ONNX, or the runtimes that read it, have no operator for, written out in those that they have.

ONNX has no linear solver and neither log_ndtr nor expm1. Its runtimes convolve, pool and resize float32 alone, while
symmetric networks read in float64 (see `Network.reading_dtype`); and pooling to a size that does not divide the input's
has no operator either. `WrittenOut` replaces these functions of torch while a graph is recorded, so that no network
needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["REPLACED", "WrittenOut", "adaptive_avg_pool2d", "conv2d", "expm1", "interpolate", "log_ndtr", "solve"]

ERFC = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)
"""Polynomial in t of ``log(erfc(z) / t) + z^2``, the constant first."""


class WrittenOut(TorchFunctionMode):
    """While it is entered, the functions of `REPLACED` are computed by their replacements."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function, or what takes its place."""
        return REPLACED.get(func, func)(*args, **(kwargs or {}))


def log_ndtr(x: Tensor) -> Tensor:
    """Logarithm of the normal distribution function of x, of any shape, within 2e-7 (and what its type rounds off).

    In the lower half ``erfc(z) = t exp(P(t) - z^2)`` with ``t = 1 / (1 + z / 2)``, of which the logarithm is taken
    before anything vanishes; the upper half is one minus that. Source: Press et al. 1992, "Numerical recipes in C",
    section 6.2, erfcc.

    >>> [round(value, 3) for value in log_ndtr(torch.tensor([-30.0, -5.0, 0.0, 5.0], dtype=torch.float64)).tolist()]
    [-454.321, -15.065, -0.693, -0.0]
    """
    t = 1 / (1 + x.abs() / (2 * 2**0.5))
    logarithm = torch.full_like(t, ERFC[-1])
    for coefficient in ERFC[-2::-1]:
        logarithm = coefficient + t * logarithm
    lower = torch.log(t / 2) + logarithm - x * x / 2
    return torch.where(x < 0, lower, torch.log(1 - torch.exp(lower)))


def expm1(x: Tensor) -> Tensor:
    """``exp(x) - 1`` without the difference of near-equals, of any shape: by half the angle of the hyperbolic tangent.

    >>> expm1(torch.tensor([-1e-8])).item()
    -9.99999993922529e-09
    """
    half = torch.tanh(x / 2)
    return 2 * half / (1 - half)


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Solution (...,K,R) of symmetric positive definite systems (...,K,K) for right sides (...,K,R), K small.

    Gauss and Jordan's elimination, which needs no search for pivots where a matrix is positive definite. Source: Higham
    2002, "Accuracy and stability of numerical algorithms", section 14.4.

    >>> solve(torch.tensor([[4.0, 2.0], [2.0, 3.0]]), torch.tensor([[8.0], [7.0]])).flatten().tolist()
    [1.25, 1.5]
    """
    count = matrices.shape[-1]
    both, unit = torch.cat([matrices, right], -1), torch.eye(count, dtype=matrices.dtype)
    for j in range(count):
        row = both.narrow(-2, j, 1)
        row = row / row.narrow(-1, j, 1)
        both = both - (both.narrow(-1, j, 1) - unit.narrow(1, j, 1)) * row
    return both.narrow(-1, count, right.shape[-1])


def conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """As torch's; in float64 as a product of matrices, over the pixels under each place of the filter."""
    if images.dtype != torch.float64 or groups != 1 or isinstance(padding, str):
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)
    (down, across), pad, step = (_pair(value) for value in (stride, padding, dilation))
    rows, columns = weight.shape[2:]
    framed = F.pad(images, (pad[1], pad[1], pad[0], pad[0]))
    height = (framed.shape[2] - step[0] * (rows - 1) - 1) // down + 1
    width = (framed.shape[3] - step[1] * (columns - 1) - 1) // across + 1
    under = [
        framed[:, :, y : y + (height - 1) * down + 1 : down, x : x + (width - 1) * across + 1 : across]
        for y in range(0, rows * step[0], step[0])
        for x in range(0, columns * step[1], step[1])
    ]
    filters = weight.permute(0, 2, 3, 1).flatten(1)
    maps = torch.matmul(filters, torch.cat(under, 1).flatten(2)).unflatten(2, (height, width))
    return maps if bias is None else maps + bias[:, None, None]


def adaptive_avg_pool2d(images: Tensor, output_size: Any) -> Tensor:
    """As torch's, for any sizes: a matrix down and one across."""
    sizes = zip(images.shape[2:], _pair(output_size), strict=True)
    return _separable(images, *(_means(count, size) for count, size in sizes))


def interpolate(images: Tensor, size: Any = None, **options: Any) -> Tensor:
    """As torch's; bilinear to a given size by a matrix down and one across."""
    plain = options.get("mode") == "bilinear" and not options.get("align_corners") and not options.get("antialias")
    if not plain or size is None:
        return F.interpolate(images, size, **options)
    sizes = zip(images.shape[2:], _pair(size), strict=True)
    return _separable(images, *(_between(count, wanted) for count, wanted in sizes))


def _separable(images: Tensor, down: np.ndarray, across: np.ndarray) -> Tensor:
    """Images (N,C,H,W) through matrices (h,H) and (w,W): (N,C,h,w)."""
    first, second = (torch.from_numpy(matrix).to(images.dtype) for matrix in (down, across.T.copy()))
    return torch.matmul(torch.matmul(first, images), second)


def _means(count: int, size: int) -> np.ndarray:
    """Means over `size` parts of a length, which overlap where it is no multiple: (size,count)."""
    pixel, part = np.arange(count), np.arange(size)[:, None]
    inside = ((pixel >= part * count // size) & (pixel < -(-(part + 1) * count // size))).astype(np.float64)
    return np.asarray(inside / inside.sum(1, keepdims=True))


def _between(count: int, size: int) -> np.ndarray:
    """Linear interpolation at the middles of `size` parts of a length: (size,count)."""
    place = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(count)), 0))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


REPLACED: dict[Any, Callable[..., Tensor]] = {
    torch.special.log_ndtr: log_ndtr,
    torch.expm1: expm1,
    torch.linalg.solve: solve,
    F.conv2d: conv2d,
    F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    F.interpolate: interpolate,
}
"""Functions of torch, and what computes the same with the operators that there are."""

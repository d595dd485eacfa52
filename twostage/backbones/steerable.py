"""A steerable network: its features turn with the photograph by any angle, and its output does not notice.

Every hidden field is a function on the circle, one value per direction, kept as its Fourier coefficients up to
frequency M: 1 + 2M channels (mean; cosine and sine of each frequency). When the photograph turns by an angle, the
maps turn and every field f(direction) becomes f(direction - angle). A convolution respects this when its kernel
between the field's frequencies m and n is, at polar position (r, b)::

    K(r, b) = R(n b) W(r) R(m b)^T

with R the 2x2 rotation and W any 2x2 matrix: circular harmonics of frequency n - m and n + m on a ring. Learned are
only the numbers in W, per ring. The nonlinearity samples the field in A directions, applies batch norm and ReLU there
and goes back to frequencies. The last layer keeps frequency 0 alone, which no turn changes.

Sources: Worrall et al. 2017, "Harmonic Networks"; Weiler and Cesa 2019, "General E(2)-Equivariant Steerable CNNs".
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError

__all__ = ["Steerable", "SteerableLayer", "circle_samples", "rotation", "steerable_basis"]

RING_WIDTH = {1: 0.6, 2: 0.9}
"""Standard deviation of a ring across its radius in pixels, by stride: wider where the map is made coarser after."""


class Steerable(Backbone, nn.Sequential):
    """Steerable layers: (N,C,H,W) -> invariant map (N,widths[-1],H/s,W/s), s the product of the strides.

    Quarter turns (and flips, with reflections) of the image turn the map exactly, other angles up to the pixel grid.
    The image's height and width must be multiples of `size_multiple` for that.

    Attributes:
        symmetry: "O(2)" with reflections, otherwise "SO(2)".
        size_multiple: The product of the strides.

    >>> Steerable(3, [12, 64], [2, 2], 1, 5, True)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 64, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        widths: list[int],
        strides: list[int],
        frequencies: int,
        kernel_size: int,
        reflections: bool,
    ) -> None:
        """Build the layers.

        Args:
            in_channels: Channels C of the image.
            widths: Fields per layer; the last counts invariant channels F.
            strides: 1 or 2 per layer.
            frequencies: Highest frequency M of the hidden fields; 0 leaves only isotropic filters.
            kernel_size: Odd width of the filters in pixels; with stride 2 they are one pixel wider.
            reflections: Be invariant to mirroring too.

        Raises:
            BackboneError: A list is empty, of another length or out of range.
        """
        _check(widths, strides, frequencies, kernel_size)
        orders = [0] + [frequencies] * (len(widths) - 1) + [0]
        fields = [in_channels, *widths]
        super().__init__(
            *(
                SteerableLayer(fields[i : i + 2], orders[i : i + 2], stride, kernel_size, reflections)
                for i, stride in enumerate(strides)
            )
        )
        self.symmetry = "O(2)" if reflections else "SO(2)"
        self.size_multiple = math.prod(strides)

    def forward(self, images: Tensor) -> Tensor:
        """Invariant feature map of images (N,C,H,W)."""
        return super().forward(images)


def _check(widths: list[int], strides: list[int], frequencies: int, kernel_size: int) -> None:
    if not widths or len(widths) != len(strides) or min(widths) < 1:
        raise BackboneError("backbone.widths and .strides must be equally long lists of positive numbers")
    if not set(strides) <= {1, 2}:
        raise BackboneError(f"backbone.strides={strides} is not allowed: each must be 1 or 2")
    if frequencies < 0:
        raise BackboneError(f"backbone.frequencies={frequencies} is not allowed: choose 0 or more, for instance 1")
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise BackboneError(f"backbone.kernel_size={kernel_size} is not allowed: choose an odd number from 3, as 5")


class SteerableLayer(nn.Module):
    """Convolution of fields, then batch norm and ReLU in sampled directions.

    (N,I*(1+2m),H,W) -> (N,O*(1+2n),H/stride,W/stride) for I fields of order m and O fields of order n.

    A stride of 2 uses filters of even width, centred between the pixels: their positions are the centres of 2x2
    blocks, which a quarter turn maps onto each other. (With an odd width it would not be equivariant.) That costs
    a third of a convolution followed by 2x2 average pooling, and the wider rings take its place as low-pass.
    """

    basis: Tensor
    to_samples: Tensor

    def __init__(self, fields: list[int], orders: list[int], stride: int, kernel_size: int, reflections: bool) -> None:
        """`fields` and `orders` each name (in, out); the order of a field is its highest frequency."""
        super().__init__()
        self.fields_in, self.fields_out = fields
        self.stride, self.size = stride, kernel_size + stride - 1
        basis, to_frequency = steerable_basis(orders[0], orders[1], self.size, RING_WIDTH[stride], reflections)
        self.channels_out, self.channels_in = basis.shape[1:3]
        dtype = torch.get_default_dtype()
        # flat, for .to(memory_format=torch.channels_last) would refuse a buffer of five dimensions
        self.register_buffer("basis", basis.flatten(1).to(dtype), persistent=False)
        self.register_buffer("to_samples", circle_samples(orders[1]).to(dtype), persistent=False)
        self.coefficients = nn.Parameter(_initial_coefficients(self.fields_out, self.fields_in, to_frequency))
        self.norm = nn.BatchNorm2d(self.fields_out)

    def kernel(self) -> Tensor:
        """The filters as one dense kernel (O*(1+2n), I*(1+2m), size, size)."""
        shape = (self.fields_out, self.fields_in, self.channels_out, self.channels_in, self.size, self.size)
        filters = torch.matmul(self.coefficients, self.basis).view(shape)
        return filters.transpose(1, 2).flatten(0, 1).flatten(1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Fields of order n (N,O*(1+2n),H/stride,W/stride) of fields of order m (N,I*(1+2m),H,W)."""
        # zeros outside: replicated or reflected borders change the features more under a turn (measured 1.4 to 4 times)
        maps = F.conv2d(maps, self.kernel(), stride=self.stride, padding=(self.size - self.stride) // 2)
        count, _, height, width = maps.shape
        fields = maps.reshape(count, self.fields_out, self.channels_out, height * width)
        # all directions of a field share one mean and variance, or a turn would change the scale
        samples = F.relu(self.norm(torch.matmul(self.to_samples, fields)))
        fields = torch.matmul(self.to_samples.T, samples)
        return fields.reshape(count, self.fields_out * self.channels_out, height, width)


def circle_samples(order: int) -> Tensor:
    """Inverse discrete Fourier transform (A,1+2M): coefficients of a function on the circle -> its A values.

    A is a multiple of 4, for quarter turns to map directions onto directions, and at least 3M: the harmonics above
    M that ReLU makes then do not fold back onto the low ones, except for the weak ones of A - M and more. The
    columns are orthonormal, so the transpose goes back.
    """
    count = 1 if order == 0 else 4 * math.ceil(3 * order / 4)
    angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    columns = [torch.full_like(angles, math.sqrt(1 / count))]
    for m in range(1, order + 1):
        columns += [math.sqrt(2 / count) * torch.cos(m * angles), math.sqrt(2 / count) * torch.sin(m * angles)]
    return torch.stack(columns, 1)


def steerable_basis(
    order_in: int, order_out: int, size: int, ring_width: float, reflections: bool
) -> tuple[Tensor, Tensor]:
    """All filters that turn a field of order m into one of order n and commute with rotation.

    Args:
        order_in: Highest frequency m of the input field.
        order_out: Highest frequency n of the output field.
        size: Width of the filters in pixels.
        ring_width: Standard deviation of the Gaussian rings, in pixels.
        reflections: Keep only filters that commute with the mirroring f(direction) -> f(-direction) as well.

    Returns:
        The B filters, each of norm one, float64 (B,1+2n,1+2m,size,size), and the output frequency of each (B,).
    """
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    radius, angle = torch.hypot(x, y), torch.atan2(y, x)
    filters, frequency = [], []
    for n in range(order_out + 1):
        for m in range(order_in + 1):
            for matrix, harmonic in _mixings(n, m, reflections):
                turned = torch.einsum("abyx,bc,dcyx->adyx", rotation(n, angle), matrix, rotation(m, angle))
                for ring in _rings(radius, harmonic, ring_width):
                    full = torch.zeros(1 + 2 * order_out, 1 + 2 * order_in, size, size, dtype=torch.float64)
                    rows, columns = _channels(n), _channels(m)
                    full[rows, columns] = (ring * turned)[: rows.stop - rows.start, : columns.stop - columns.start]
                    filters.append(full / full.norm())
                    frequency.append(n)
    return torch.stack(filters), torch.tensor(frequency)


def rotation(frequency: int, angle: Tensor) -> Tensor:
    """Rotation matrices by `frequency` times the angles (...): (2,2,...)."""
    cos, sin = torch.cos(frequency * angle), torch.sin(frequency * angle)
    return torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])


def _channels(frequency: int) -> slice:
    """Where the coefficients of a frequency lie in a field."""
    return slice(0, 1) if frequency == 0 else slice(2 * frequency - 1, 2 * frequency + 1)


def _mixings(n: int, m: int, reflections: bool) -> list[tuple[Tensor, int]]:
    """A basis of the matrices W from frequency m to n, each with the one harmonic of angle that it leads to.

    Matrices that commute with rotations turn with n - m, those that do after mirroring with n + m. Mirroring
    negates the sines: what maps cosine to sine or back is odd and drops out with reflections.
    """
    same = torch.eye(2, dtype=torch.float64)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    mirror = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    even, odd = [(same, abs(n - m))], [(turn, abs(n - m))]
    if n and m:
        even.append((mirror, n + m))
        odd.append((turn @ mirror, n + m))
    return even if reflections or n == m == 0 else even + odd


def _rings(radius: Tensor, harmonic: int, width: float) -> list[Tensor]:
    """Gaussian rings (size,size) at radii 0, 1, 2, ... that are large enough for a harmonic of the angle.

    A ring passes too few pixels for high harmonics: they would be aliases of low ones and not turn.
    """
    size = len(radius)
    disc = radius <= size / 2
    if harmonic:
        disc &= radius > 0  # the centre has no direction
    radii = [r for r in range((size + 1) // 2) if harmonic <= (r + 1 if r else 0)]
    return [torch.exp(-0.5 * ((radius - r) / width) ** 2) * disc for r in radii]


def _initial_coefficients(fields_out: int, fields_in: int, frequency: Tensor) -> Tensor:
    """Random coefficients (O,I,B) that keep the variance through ReLU, the same for every output frequency.

    He et al. 2015, carried over to a basis of filters with norm one (Weiler et al. 2018, "Learning Steerable Filters
    for Rotation Equivariant CNNs"): a frequency's channels (one, or two) share the filters that lead to it.
    """
    leading = (frequency[:, None] == frequency).sum(1)
    std = torch.sqrt(2 * torch.where(frequency == 0, 1, 2) / (fields_in * leading))
    return torch.randn(fields_out, fields_in, len(frequency)) * std

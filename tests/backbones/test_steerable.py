import copy
import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from twostage.backbones.compact import Compact
from twostage.backbones.steerable import Steerable, circle_samples, rotation, steerable_basis
from twostage.data.color import to_color
from twostage.data.simulated import render_photographs, sample_targets
from twostage.errors import BackboneError
from twostage.options.backbones import SteerableConfig


def default(in_channels, **options):
    """The backbone with the options of its configuration, but for those named."""
    chosen = {key: value for key, value in asdict(SteerableConfig()).items() if key != "name"}
    return Steerable(in_channels, **(chosen | options))


SMALL = {"widths": [3, 4, 6], "strides": [2, 1, 1], "frequencies": 2}


def images(count=4, channels=3, size=32, seed=0):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def settled(net, photos):
    """The network in eval mode, its batch norm having seen the photographs."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for batch in photos.split(8):
            net.train()(batch)
    return net.eval()


def steerable(reflections, seed=0, photos=None, **options):
    torch.manual_seed(seed)
    photos = images().double() if photos is None else photos
    net = default(photos.shape[1], reflections=reflections, **(SMALL | options)).to(photos.dtype)
    return settled(net, photos)


def turned(images, degrees):
    """Images turned about their centre, with the augmentation's resampling."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    theta = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def field_rotation(order, angle):
    """How the coefficients (1+2M) of a function on the circle change when it turns by `angle`."""
    angle = torch.tensor(angle, dtype=torch.float64)
    return torch.block_diag(torch.ones(1, 1, dtype=torch.float64), *(rotation(m, angle) for m in range(1, order + 1)))


def field_mirroring(order):
    return torch.diag(torch.tensor([1.0] + [1.0, -1.0] * order, dtype=torch.float64))


class TestBasis:
    @pytest.mark.parametrize("size", [3, 5, 6, 7, 8])
    @pytest.mark.parametrize(("order_in", "order_out"), [(0, 2), (2, 3), (3, 0)])
    def test_quarter_turn(self, size, order_in, order_out):
        """Turned filters are the filters with both fields turned: K(Ry) = T_out K(y) T_in^-1."""
        basis, _ = steerable_basis(order_in, order_out, size, 0.6, reflections=False)
        quarter = math.pi / 2  # from x to y, which points down; torch.rot90 with k=1 reads K at the turned place
        both = torch.einsum(
            "ab,kbcyx,dc->kadyx", field_rotation(order_out, quarter), basis, field_rotation(order_in, quarter)
        )
        torch.testing.assert_close(torch.rot90(basis, 1, (3, 4)), both, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("size", [5, 6])
    def test_mirroring(self, size):
        """With reflections every filter commutes with mirroring; without, half of them change their sign."""
        both = field_mirroring(2)
        for reflections in (True, False):
            basis, _ = steerable_basis(2, 2, size, 0.6, reflections)
            mirrored = torch.einsum("ab,kbcyx,dc->kadyx", both, basis.flip(3), both)
            even = (mirrored - basis).abs().amax((1, 2, 3, 4)) < 1e-12
            odd = (mirrored + basis).abs().amax((1, 2, 3, 4)) < 1e-12
            assert (even ^ odd).all()
            assert even.all() == reflections

    def test_any_angle(self):
        """Pixels (5,0) and (4,3) are as far from the centre: the angle between them is no symmetry of the grid."""
        basis, _ = steerable_basis(2, 2, 11, 0.6, reflections=False)
        turn = field_rotation(2, math.atan2(3, 4))
        expected = torch.einsum("ab,kbc,dc->kad", turn, basis[:, :, :, 5, 5 + 5], turn)
        torch.testing.assert_close(basis[:, :, :, 5 + 3, 5 + 4], expected, rtol=0, atol=1e-12)
        assert expected.abs().amax() > 0.01

    def test_every_filter_has_norm_one_and_is_new(self):
        basis, frequency = steerable_basis(2, 2, 5, 0.6, reflections=False)
        flat = basis.flatten(1)
        torch.testing.assert_close(flat.norm(dim=1), torch.ones(len(flat), dtype=torch.float64))
        assert int(torch.linalg.matrix_rank(flat)) == len(flat)
        assert sorted(set(frequency.tolist())) == [0, 1, 2]

    def test_high_harmonics_need_large_rings(self):
        """The centre pixel holds the harmonic 0 alone."""
        basis, _ = steerable_basis(0, 2, 5, 0.6, reflections=False)
        assert basis[:, 1:, :, 2, 2].abs().amax() == 0


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_samples_and_frequencies_are_inverse(order):
    samples = circle_samples(order)
    torch.testing.assert_close(samples.T @ samples, torch.eye(1 + 2 * order, dtype=torch.float64))
    if order:
        quarter = samples @ field_rotation(order, math.pi / 2)
        torch.testing.assert_close(quarter, samples.roll(len(samples) // 4, 0))
        mirrored = samples @ field_mirroring(order)
        torch.testing.assert_close(mirrored, samples.flip(0).roll(1, 0))


@pytest.mark.parametrize("reflections", [True, False])
class TestNetwork:
    @pytest.mark.parametrize("strides", [[1, 1, 1], [2, 1, 1], [2, 2, 2]])
    def test_quarter_turns_are_exact(self, reflections, strides):
        net, photos = steerable(reflections, strides=strides), images(seed=1).double()
        with torch.no_grad():
            for k in (1, 2, 3):
                other = net(torch.rot90(photos, k, (2, 3)))
                torch.testing.assert_close(other, torch.rot90(net(photos), k, (2, 3)), rtol=0, atol=1e-10)

    def test_mirror_images(self, reflections):
        """Told apart without reflections, and only then."""
        net, photos = steerable(reflections), images(seed=1).double()
        with torch.no_grad():
            one, other = net(photos).mean((2, 3)), net(photos.flip(3)).mean((2, 3))
            difference = float((one - other).abs().mean() / one.std(0).mean())
            if reflections:
                torch.testing.assert_close(net(photos.flip(3)), net(photos).flip(3), rtol=0, atol=1e-10)
        assert difference < 1e-10 if reflections else difference > 0.1
        assert net.symmetry == ("O(2)" if reflections else "SO(2)")

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("size", [32, 48, 80])
    def test_shape(self, reflections, channels, size):
        net = default(channels, reflections=reflections).eval()
        assert net.size_multiple == 4
        with torch.no_grad():
            assert net(images(2, channels, size)).shape == (2, 64, size // 4, size // 4)

    def test_gradient_reaches_every_parameter(self, reflections):
        net = default(3, reflections=reflections).double().train()
        net(images(4, size=32).double()).square().sum(1).mean((1, 2)).square().sum().backward()
        largest = {
            key: float(p.grad.abs().amax((0, 1) if p.ndim == 3 else ()).min()) for key, p in net.named_parameters()
        }
        assert [key for key, size in largest.items() if size < 1e-12] == []

    def test_state_dict_round_trip_and_copy(self, reflections):
        one, photos = steerable(reflections), images(seed=2).double()
        other = default(3, reflections=reflections, **SMALL).double().eval()
        other.load_state_dict(one.state_dict())
        with torch.no_grad():
            assert torch.equal(one(photos), other(photos))
            assert torch.equal(one(photos), copy.deepcopy(one)(photos))
        assert not any("basis" in key or "samples" in key for key in one.state_dict())

    def test_layouts_and_precisions(self, reflections):
        photos = images(seed=2)
        net = steerable(reflections, photos=photos)
        with torch.no_grad():
            expected = net(photos)
            net.to(memory_format=torch.channels_last)
            last = net(photos.to(memory_format=torch.channels_last))
            torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)
            with torch.autocast("cpu", torch.bfloat16):
                half = net(photos).float()
        assert (half - expected).abs().mean() < 0.05 * expected.abs().mean()


def disc_photographs(degrees, count=12, size=64):
    """Photographs turned at four times their resolution, as optical density, uniform outside a disc: (N,3,64,64)."""
    targets = sample_targets(count, 80.0, 350.0, "uniform", 5)
    large = torch.from_numpy(render_photographs(targets, 4 * size, 5)).permute(0, 3, 1, 2).float() / 255
    density = to_color(F.interpolate(turned(large, degrees), size=(size, size), mode="area"), "optical_density")
    axis = (torch.arange(size) + 0.5) / size - 0.5
    disc = torch.sigmoid((0.47 - torch.hypot(axis[:, None], axis)) * 90)
    return (density * disc + 0.1 * (1 - disc) - 0.3) / 0.3


def test_rotation_error():
    """Change of the mean features when the photograph turns, in standard deviations between photographs."""
    photos = disc_photographs(0.0)
    torch.manual_seed(0)
    nets = {
        "steerable": settled(default(3), photos),
        "plain": settled(Compact(3, [32, 32, 64, 64, 64, 64], [2, 1, 2, 1, 1, 1], [1, 1, 1, 1, 2, 4]), photos),
    }
    errors = {}
    for degrees in (15, 30, 45):
        other = disc_photographs(degrees)
        for name, net in nets.items():
            with torch.no_grad():
                one, two = net(photos).mean((2, 3)), net(other).mean((2, 3))
            errors[name, degrees] = float((one - two).abs().mean() / one.std(0).mean())
    for degrees, bound in ((15, 0.04), (30, 0.05), (45, 0.06)):
        assert errors["steerable", degrees] < bound
        assert errors["steerable", degrees] < 0.3 * errors["plain", degrees]


def test_variance_is_kept_at_the_start():
    """White noise through one layer: every frequency comes out about as strong as its field's share of it."""
    torch.manual_seed(0)
    layer = default(64, widths=[256, 1], strides=[1, 1], frequencies=2, reflections=False)[0]
    maps = F.conv2d(images(2, 64, 16), layer.kernel().detach(), padding=2)
    per_channel = maps[:, :, 4:-4, 4:-4].var((0, 2, 3)).view(256, 5).mean(0)
    torch.testing.assert_close(per_channel, torch.full((5,), 2.0), rtol=0.2, atol=0)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"widths": [8, 8], "strides": [1]}, "widths"),
        ({"widths": [], "strides": []}, "widths"),
        ({"widths": [0], "strides": [1]}, "widths"),
        ({"widths": [8], "strides": [3]}, "strides"),
        ({"frequencies": -1}, "frequencies"),
        ({"kernel_size": 4}, "kernel_size"),
        ({"kernel_size": 1}, "kernel_size"),
    ],
)
def test_refused_options(options, word):
    with pytest.raises(BackboneError, match=word) as error:
        default(3, **options)
    assert "\n" not in str(error.value)

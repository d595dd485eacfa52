import pytest
import torch

from twostage.backbone_config import CompactConfig, TimmConfig, VggConfig
from twostage.backbones import build_backbone, map_shape
from twostage.backbones.pooling import POOLINGS, MaskPooling, build_pooling
from twostage.backbones.timm_models import TimmBackbone
from twostage.bins import Bins
from twostage.errors import BackboneError
from twostage.stages.network import Network

BINS = Bins([-2, 2])


def images(count=2, channels=3, size=32, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def network(config, channels=3, size=32, pooling="mean", seed=0):
    torch.manual_seed(seed)
    backbone = build_backbone(config, channels)
    return Network(backbone, BINS, size=size, channels=channels, pooling=pooling, name=config.name)


def estimate(net, photos):
    return net.estimate(net.pooled(photos))


CONFIGS = {
    "compact": (CompactConfig(), lambda size: (64, size // 4, size // 4)),
    "vgg": (VggConfig(), lambda size: (32, size // 8, size // 8)),
    "resnet10t": (TimmConfig("resnet10t"), lambda size: (512, size // 32, size // 32 or 1)),
}


@pytest.mark.parametrize("name", CONFIGS)
class TestContract:
    """What every backbone must do; a new one needs a row in CONFIGS."""

    @pytest.mark.parametrize("channels", [1, 3])
    def test_shape(self, name, channels):
        config, expected = CONFIGS[name]
        backbone = build_backbone(config, channels).eval()
        for size in (32, 48, 64):
            shape = map_shape(backbone, channels, size, name)
            with torch.no_grad():
                feature_map = backbone(images(2, channels, size))
            assert feature_map.shape == (2, *shape)
            if size != 48 or name != "resnet10t":  # 48 is no multiple of its stride of 32
                assert shape == expected(size)

    @pytest.mark.parametrize("pooling", sorted(POOLINGS))
    @pytest.mark.parametrize("channels", [1, 3])
    def test_every_pooling(self, name, pooling, channels):
        net = network(CONFIGS[name][0], channels, pooling=pooling).eval()
        with torch.no_grad():
            assert net.pooled(images(2, channels)).shape == (2, net.pooled_width)
            outputs = estimate(net, images(2, channels))
        assert outputs.shape == (2, 1)
        assert outputs.isfinite().all()
        assert not torch.equal(outputs[0], outputs[1])

    @pytest.mark.parametrize("pooling", sorted(POOLINGS))
    def test_gradient_reaches_every_parameter(self, name, pooling):
        net = network(CONFIGS[name][0], size=64, pooling=pooling).double().train()
        with torch.no_grad():
            for parameter in net.parameters():  # timm starts residual blocks at a scale of exactly zero
                parameter.add_(0.05 * torch.randn_like(parameter))
        estimate(net, images(4, size=64).double()).square().sum().backward()
        # in double precision a gradient that is zero by construction differs from a small one
        largest = {key: float(p.grad.abs().max()) if p.grad is not None else 0.0 for key, p in net.named_parameters()}
        # a bias of the masks cancels in their softmax over positions
        dead = ["pooling.masks.bias"] if pooling == "masks" else []
        assert [key for key, size in largest.items() if size < 1e-12] == dead

    def test_state_dict_round_trip(self, name):
        one, other = (network(CONFIGS[name][0], pooling="masks", seed=seed).eval() for seed in (0, 1))
        one.normalize_like(images(4, seed=3))
        photos = images()
        with torch.no_grad():
            assert not torch.equal(estimate(one, photos), estimate(other, photos))
            other.load_state_dict(one.state_dict())
            assert torch.equal(estimate(one, photos), estimate(other, photos))

    def test_an_image_counts_alone(self, name):
        net = network(CONFIGS[name][0], pooling="masks").eval()
        photos = images(3)
        with torch.no_grad():
            together = estimate(net, photos)
            alone = torch.cat([estimate(net, photo[None]) for photo in photos])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_overfits_16_images(self, name):
        config = VggConfig(dropout=0.0) if name == "vgg" else CONFIGS[name][0]
        net = network(config, pooling="mean").train()
        photos, targets = images(16, seed=5), torch.linspace(-1, 1, 16)[:, None]
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        losses = []
        for _ in range(60):
            loss = (estimate(net, photos) - targets).square().mean()
            losses.append(loss.item())
            if loss < losses[0] / 10:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < losses[0] / 10

    def test_map_shape_leaves_the_network_as_it_was(self, name):
        backbone = build_backbone(CONFIGS[name][0], 3).train()
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        map_shape(backbone, 3, 32, name)
        assert all(module.training for module in backbone.modules())
        assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def masks_of(channels=3, features=5, side=8, seed=0):
    torch.manual_seed(seed)
    return build_pooling("masks", (features, side, side), channels)


def turned(tensor):
    quarter = [torch.rot90(tensor, k, (2, 3)) for k in range(4)]
    return quarter + [view.flip(3) for view in quarter]


@pytest.mark.parametrize(("side", "size"), [(8, 32), (1, 32), (24, 32), (9, 33)])
def test_masks_sum_to_one(side, size):
    pooling = masks_of(side=side)
    height = max(size // 2, side)
    pixels = images(2, 3, height) * 5
    weights = pooling.weights(torch.randn(2, 5, side, side), pixels)
    assert weights.shape == (2, 8, height, height)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 8))
    assert not torch.allclose(weights[:, 0], weights[:, 1])


@pytest.mark.parametrize("size", [24, 32, 33])
def test_masks_do_not_see_turns_and_flips(size):
    pooling, photos = masks_of(), images(2, 3, size)
    constant = torch.randn(1, 5, 1, 1).expand(2, 5, 8, 8)
    varied = torch.randn(2, 5, 8, 8)
    with torch.no_grad():
        for view in turned(photos):
            torch.testing.assert_close(pooling(constant, view), pooling(constant, photos))
        for feature_map, view in zip(turned(varied), turned(photos), strict=True):
            torch.testing.assert_close(pooling(feature_map, view), pooling(varied, photos))
        assert not torch.allclose(pooling(varied, photos.flip(3)), pooling(varied, photos))


@pytest.mark.parametrize("channels", [1, 3])
def test_pooled_colors_are_weighted_means(channels):
    pooling, photos = masks_of(channels), images(4, channels) * 3 - 1
    with torch.no_grad():
        for parameter in pooling.parameters():  # sharp masks, far from the plain mean
            parameter.mul_(20)
        pooled = pooling(torch.randn(4, 5, 8, 8), photos)
    colors = pooled[:, : pooling.n_colors].view(4, 8, channels)
    low, high = photos.amin((2, 3))[:, None], photos.amax((2, 3))[:, None]
    assert (colors >= low - 1e-5).all()
    assert (colors <= high + 1e-5).all()
    assert not torch.allclose(colors, photos.mean((2, 3))[:, None].expand_as(colors), atol=0.05)


def test_pooled_color_of_a_constant_image_is_its_color():
    color = torch.tensor([0.2, 1.7, -0.4])
    pooled = masks_of()(torch.randn(2, 5, 8, 8), color.view(1, 3, 1, 1).expand(2, 3, 32, 32))
    torch.testing.assert_close(pooled[:, :24].view(2, 8, 3), color.expand(2, 8, 3))


def test_mean_features_stand_beside_the_colors():
    feature_map = torch.randn(2, 5, 8, 8)
    pooling = masks_of()
    assert isinstance(pooling, MaskPooling)
    pooled = pooling(feature_map, images())
    torch.testing.assert_close(pooled[:, pooling.n_colors :], feature_map.mean((2, 3)))


def test_normalisation_is_of_the_training_set_and_not_of_the_image():
    net = network(CompactConfig(widths=[4], strides=[2], dilations=[1]))
    training = images(8) * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    net.eval().normalize_like(training)
    torch.testing.assert_close(net.mean, training.mean((0, 2, 3)))
    assert not torch.allclose(net.pooled(training[:1]), net.pooled(training[:1] * 1.1))
    net.normalize_like(torch.ones(4, 3, 8, 8))  # no spread at all
    assert net.pooled(images()).isfinite().all()


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("name", "near"), [("resnet10", "resnet10t"), ("compakt", "compact"), ("vgg_16", "vgg16")])
def test_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(BackboneError) as error:
        build_backbone(TimmConfig(name), 3)
    assert name in one_line(error)
    assert near in one_line(error).split("did you mean")[1]


def test_a_vision_transformer_is_refused():
    with pytest.raises(BackboneError) as error:
        map_shape(build_backbone(TimmConfig("vit_tiny_patch16_224"), 3), 3, 64, "vit_tiny_patch16_224")
    assert "vit_tiny_patch16_224" in one_line(error)


def test_a_map_with_channels_last_is_refused(monkeypatch):
    backbone = TimmBackbone(3, "resnet10t")
    # some transformers of timm answer (N,h,w,F)
    monkeypatch.setattr(backbone, "model", torch.nn.Identity())
    with pytest.raises(BackboneError, match="no feature map"):
        backbone(torch.zeros(1, 1, 2, 2, 512))


@pytest.mark.parametrize(
    "lists",
    [
        {"widths": [8, 8]},
        {"strides": [1]},
        {"dilations": [1] * 7},
        {"widths": [], "strides": [], "dilations": []},
        {"widths": [8, 0], "strides": [1, 1], "dilations": [1, 1]},
        {"widths": [8, 8], "strides": [1, -1], "dilations": [1, 1]},
    ],
)
def test_lists_that_do_not_fit_are_refused(lists):
    with pytest.raises(BackboneError) as error:
        build_backbone(CompactConfig(**lists), 3)
    assert "equally long" in one_line(error)


@pytest.mark.parametrize("widths", [[], [8, 0]])
def test_vgg_without_channels_is_refused(widths):
    with pytest.raises(BackboneError, match="widths"):
        build_backbone(VggConfig(widths=widths), 3)


@pytest.mark.parametrize(
    ("config", "size"),
    [(VggConfig(widths=[4] * 6), 32), (VggConfig(), 4), (TimmConfig("inception_v3"), 32)],
    ids=["vgg of 6 blocks", "vgg", "inception_v3"],
)
def test_too_small_images_are_refused(config, size):
    with pytest.raises(BackboneError) as error:
        network(config, size=size)
    assert f"image.size={size}" in one_line(error)
    assert config.name in one_line(error)
    assert "larger" in one_line(error)


def test_timm_can_be_imported():
    TimmBackbone(3, "resnet10t")
    import timm

    assert timm.is_model("resnet18")

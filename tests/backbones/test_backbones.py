import copy

import numpy as np
import pytest
import torch
from helpers import TINY, few, statistics
from safetensors.torch import save_file

from twostage import load_config
from twostage.backbones import build_backbone, check_size, map_shape
from twostage.backbones.group_equivariant import GroupConv
from twostage.backbones.mixed_scale import MixedScale
from twostage.backbones.pooling import MaskPooling, build_pooling
from twostage.backbones.timm_models import TimmBackbone
from twostage.bins import Bins
from twostage.data.augment import dihedral_view, dihedral_views
from twostage.data.color import to_color, to_srgb
from twostage.data.simulated import render_photographs, sample_targets
from twostage.errors import BackboneError, ConfigError
from twostage.options.backbones import (
    CompactConfig,
    InceptionConfig,
    MixedScaleConfig,
    TimmConfig,
    VggConfig,
    backbone_config,
)
from twostage.options.choices import POOLINGS
from twostage.orchestrator import train
from twostage.predictor import Predictor
from twostage.run.start import initialize
from twostage.stages.build import build_classifier, build_regressor, starts_from_own_weights, warm_start
from twostage.stages.combination import combine
from twostage.stages.network import Network
from twostage.stages.reading import different_views
from twostage.stages.two_stage import TwoStage
from twostage.training.precision import Plan, apply_plan, candidates

BINS = Bins([-2, 2])


def images(count=2, channels=3, size=32, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def network(config, channels=3, size=32, pooling="mean", seed=0):
    torch.manual_seed(seed)
    backbone = build_backbone(config, channels)
    return Network(backbone, BINS, size=size, channels=channels, pooling=pooling, name=config.name)


def estimate(net, photos):
    return net.estimate(net.pooled(photos))


# the feature map's channels, how many pixels share a position of it, and what leaves its mean unchanged
CONTRACT = {
    "compact": (64, 4, "none"),
    "vgg": (32, 8, "none"),
    "resnet10t": (512, 32, "none"),
    "inception": (128, 4, "none"),
    "p4": (32, 4, "p4"),
    "p4m": (16, 4, "p4m"),
    "steerable": (64, 4, "O(2)"),
    "mixed_scale": (33, 1, "none"),
}
VIEWS = {"none": slice(0, 1), "p4": slice(0, 4), "p4m": slice(0, 8), "SO(2)": slice(0, 4), "O(2)": slice(0, 8)}


def poolings(name):
    """All that go with a backbone: flatten would undo a symmetry."""
    return [pooling for pooling in sorted(POOLINGS) if CONTRACT[name][2] == "none" or pooling != "flatten"]


def has_its_shape(name, channels, size):
    features, stride, _ = CONTRACT[name]
    backbone = build_backbone(backbone_config(name), channels).eval()
    shape = map_shape(backbone, channels, size, name)
    with torch.no_grad():
        feature_map = backbone(images(2, channels, size))
    assert feature_map.shape == (2, *shape)
    if size % stride == 0 and features != 33:
        assert shape == (features, size // stride, size // stride)
    if features == 33:  # the input comes first
        assert shape == (30 + channels, size, size)


@pytest.mark.parametrize("name", CONTRACT)
class TestContract:
    """What every backbone must do; a new one needs a row in CONTRACT."""

    @pytest.mark.parametrize("channels", [1, 3])
    def test_shape(self, name, channels):
        for size in (32, 48, 64):
            has_its_shape(name, channels, size)

    @pytest.mark.slow
    def test_shape_of_a_large_photograph(self, name):
        has_its_shape(name, 1, 512)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_every_pooling(self, name, channels):
        for pooling in poolings(name):
            net = network(backbone_config(name), channels, pooling=pooling).eval()
            with torch.no_grad():
                assert net.pooled(images(2, channels)).shape == (2, net.pooled_width)
                outputs = estimate(net, images(2, channels))
            assert outputs.shape == (2, 1)
            assert outputs.isfinite().all()
            assert not torch.equal(outputs[0], outputs[1])

    def test_gradient_reaches_every_parameter(self, name):
        for pooling in poolings(name):
            net = network(backbone_config(name), size=64, pooling=pooling).double().train()
            with torch.no_grad():
                for parameter in net.parameters():  # timm starts residual blocks at a scale of exactly zero
                    parameter.add_(0.02 * torch.randn_like(parameter))
            photos = images(4, size=64).double()
            net.normalize(*statistics(photos))
            estimate(net, photos).square().sum().backward()
            # in double precision a gradient that is zero by construction differs from a small one
            largest = {key: 0.0 if p.grad is None else float(p.grad.abs().max()) for key, p in net.named_parameters()}
            # a bias of the masks cancels in their softmax over positions
            dead = ["pooling.masks.bias"] if pooling in ("masks", "surfaces") else []
            assert [key for key, size in largest.items() if size < 1e-12] == dead

    def test_state_dict_round_trip(self, name):
        one, other = (network(backbone_config(name), pooling="masks", seed=seed).eval() for seed in (0, 1))
        one.normalize(*statistics(images(4, seed=3)))
        photos = images()
        with torch.no_grad():
            assert not torch.equal(estimate(one, photos), estimate(other, photos))
            other.load_state_dict(one.state_dict())
            assert torch.equal(estimate(one, photos), estimate(other, photos))

    def test_an_image_counts_alone(self, name):
        net = network(backbone_config(name), pooling="masks").eval()
        photos = images(3)
        with torch.no_grad():
            together = estimate(net, photos)
            alone = torch.cat([estimate(net, photo[None]) for photo in photos])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_bfloat16_reads_almost_the_same(self, name):
        net = network(backbone_config(name), pooling="masks").train()
        photos = images(8)
        with torch.no_grad():
            exact = estimate(net, photos)
            net.precision = torch.bfloat16
            rough = estimate(net, photos)
        assert 0 < float((rough - exact).abs().max()) < 0.1  # of a range of 4

    @pytest.mark.slow
    def test_overfits_32_images(self, name):
        easier = {"vgg": VggConfig(dropout=0.0), "mixed_scale": MixedScaleConfig(width=2, depth=10)}
        net = network(easier.get(name, backbone_config(name)), pooling="masks").train()
        photos, targets = images(32, seed=5), torch.linspace(-1, 1, 32)[:, None]
        net.normalize(*statistics(photos))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2 if name == "mixed_scale" else 3e-3)
        losses = []
        for _ in range(200):
            loss = (estimate(net, photos) - targets).square().mean()
            losses.append(loss.item())
            if loss < losses[0] / 10:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < losses[0] / 10

    def test_map_shape_leaves_the_network_as_it_was(self, name):
        backbone = build_backbone(backbone_config(name), 3).train()
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        map_shape(backbone, 3, 32, name)
        assert all(module.training for module in backbone.modules())
        assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())

    def test_a_step_of_training_gives_the_copy_of_a_network_the_same_weights(self, name):
        one = network(backbone_config(name), pooling="masks", size=32).train()
        other = copy.deepcopy(one)
        for net in (one, other):
            torch.manual_seed(1)
            estimate(net, images(4)).square().sum().backward()
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            assert p.grad is None or torch.equal(p.grad, q.grad)

    @pytest.mark.slow
    def test_declared_symmetry_with_random_and_with_trained_weights(self, name, tmp_path, monkeypatch):
        """Of the whole two-stage model, one view at a time."""
        monkeypatch.chdir(tmp_path)
        declared = CONTRACT[name][2]
        config = load_config([*TINY, f"backbone={name}", "runtime.precision=float32", "augment=none", "run=trained"])
        train(config)
        trained = Predictor.load("outputs/trained").model
        stages = [build(config, trained.bins) for build in (build_classifier, build_regressor)]
        for stage in stages:
            stage.network.normalize(trained.network.regressor.network.mean, trained.network.regressor.network.std)
        untrained = TwoStage(trained.bins, *stages, config.image.color)
        adapt_batch_norm(untrained)
        for model in (untrained, trained.network):
            assert model.regressor.network.backbone.symmetry == declared
            change, spread = change_and_spread(model, VIEWS[declared])
            assert spread > 0.01
            assert change < 1e-4 * spread
            assert change < (1e-5 if model is trained.network else 1e-3) * 270  # with the last layer solved
            if declared in ("none", "p4"):
                assert change_and_spread(model, slice(0, 8))[0] > 1e-3 * spread
        seen = different_views([trained.network.regressor.network])
        assert len(seen) == {"none": 8, "p4": 2, "p4m": 1, "O(2)": 1}[declared]


@pytest.mark.parametrize("name", few(["compact", "p4m"], [*CONTRACT]))
class TestCostlyContract:
    """The rest of it, for few of them where there is little time."""

    def test_gradients_in_every_number_format_that_may_be_chosen(self, name):
        """Garbage memory must not get into them: some convolutions read what was never written."""
        stage = build_regressor(load_config([f"backbone={name}", "image.size=32", "bins.count=3"]), BINS)
        photos, targets = images(16), stage.targets(np.linspace(-2, 2, 16))
        stage.network.normalize(*statistics(photos))
        exact = gradient_of(stage, photos, targets, Plan("float32", channels_last=False))
        for plan in candidates(stage, photos, targets):
            found = gradient_of(stage, photos, targets, plan)
            assert found.isfinite().all(), plan
            assert torch.nn.functional.cosine_similarity(found, exact, 0) > 0.98, plan

    def test_export(self, name):
        net = network(backbone_config(name), pooling="masks").eval()
        photos = images(2)

        class Estimate(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, photos):
                return estimate(self.net, photos)

        with torch.no_grad():
            exported = torch.export.export(Estimate().eval(), (photos,)).module()
            torch.testing.assert_close(exported(photos), estimate(net, photos), rtol=1e-4, atol=1e-5)


def gradient_of(stage, photos, targets, plan):
    stage = copy.deepcopy(stage).train()
    for module in stage.modules():
        module.p = 0.0  # no dropout
    apply_plan(plan, stage)
    garbage = torch.full((4_000_000,), float("nan"))
    del garbage
    stage.loss(photos, targets).backward()
    return torch.cat([p.grad.flatten() for p in stage.parameters() if p.grad is not None])


def test_a_format_that_would_spoil_gradients_is_not_chosen():
    bad = Plan("bfloat16", channels_last=True)
    for options, allowed in (
        (["backbone=compact"], True),
        (["backbone=mixed_scale"], False),
        (["backbone.widths=[24,24]", "backbone.strides=[2,1]", "backbone.dilations=[1,2]"], False),
        (["backbone=p4m", "backbone.widths=[3,3]", "backbone.strides=[2,1]", "backbone.dilations=[1,2]"], False),
    ):
        stage = build_regressor(load_config([*options, "image.size=32"]), BINS)
        photos, targets = images(2), stage.targets(np.zeros(2))
        assert (bad in candidates(stage, photos, targets)) == allowed
        assert bad not in candidates(stage, photos, targets, "float32")


def unseen(count=24):
    return render_photographs(sample_targets(count, 80, 350, "uniform", 5), 32, 5)


def adapt_batch_norm(model):
    """An untrained network with batch norm says nearly the same of all photographs until it knows their statistics."""
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(to_color(to_srgb(unseen(), torch.device("cpu")), model.color))


def change_and_spread(model, views):
    """Largest difference in concentration between views of unseen photographs; how far these lie apart themselves."""
    pixels = torch.from_numpy(unseen()).permute(0, 3, 1, 2)
    seen = [view.permute(0, 2, 3, 1).contiguous().numpy() for view in dihedral_views(pixels)[views]]
    readings = np.array([combine(model.bins, model.read(view, views=[0])) for view in seen])
    return float(np.ptp(readings, axis=0).max()), float(readings[0].std())


def test_eight_views_average_to_the_same_where_a_symmetry_leaves_fewer():
    config = load_config(["backbone=p4", "image.size=32", "bins.count=3"])
    bins = Bins.uniform(80, 350, 3)
    model = TwoStage(bins, build_classifier(config, bins), build_regressor(config, bins), "srgb").eval()
    photos = images(3)
    with torch.no_grad():
        views = different_views([model.regressor.network])
        few = torch.stack([model(dihedral_view(photos, view))[1] for view in views]).mean(0)
        all_views = torch.stack([model(view)[1] for view in dihedral_views(photos)]).mean(0)
    torch.testing.assert_close(few, all_views, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["p4", "p4m", "steerable"])
def test_sizes_that_would_break_a_symmetry_are_refused_with_the_nearest_good_ones(name):
    backbone = build_backbone(backbone_config(name), 3)
    check_size(backbone, 64, name)
    with pytest.raises(BackboneError, match=r"image\.size=66 is not: choose 64 or 68"):
        check_size(backbone, 66, name)


def test_flatten_with_a_symmetry_is_refused():
    with pytest.raises(BackboneError, match="choose masks or mean"):
        network(backbone_config("p4m"), pooling="flatten")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("order", "views"), [(4, 4), (8, 8)])
def test_group_convolution_moves_its_maps_as_the_image_moves(order, views, stride):
    """The maps of a turned image are the turned maps in another order; a second convolution keeps it so."""
    torch.manual_seed(0)
    lift = GroupConv(3, 2, order, stride=stride, lifts=True)
    conv = GroupConv(2, 5, order, stride=stride)
    photos = images(1, size=16)
    maps = conv(lift(photos)).unflatten(1, (5, order))
    for k, view in enumerate(dihedral_views(photos)[:views]):
        found = conv(lift(view)).unflatten(1, (5, order))
        back = torch.rot90(found.flip(4) if k >= 4 else found, -k, (3, 4))
        difference = (back[:, :, :, None] - maps[:, :, None]).abs().amax((0, 1, 4, 5))
        same = (difference < 1e-5).int()  # (G,G): each map is one of the others
        assert same.sum(0).tolist() == same.sum(1).tolist() == [1] * order


def test_the_width_of_inception_scales_all_filters_alike():
    def channels(width):
        net = build_backbone(InceptionConfig(width=width), 3)
        return [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)]

    assert channels(2.0) == [2 * c for c in channels(1.0)]
    with pytest.raises(BackboneError, match=r"0\.125"):
        build_backbone(InceptionConfig(width=0.01), 3)


def test_mixed_scale_is_the_papers_network():
    net = MixedScale(3, width=2, depth=12)
    convs = [conv for layer in net.layers for conv in layer.convs]
    assert [conv.dilation[0] for conv in convs] == [k % 10 + 1 for k in range(24)]
    assert [conv.in_channels for conv in convs] == [3 + 2 * (k // 2) for k in range(24)]
    weights = torch.cat([conv.weight.detach().flatten() for conv in convs])
    assert float(weights.std()) == pytest.approx((2 / (9 * (3 + 2 * 11) + 1)) ** 0.5, rel=0.05)
    photos = images()
    assert torch.equal(net(photos)[:, :3], photos)


def test_mixed_scale_keeps_its_gradients_though_it_keeps_no_concatenation():
    torch.manual_seed(0)
    net, photos = MixedScale(3, 2, 6).double(), images().double()
    kept = []

    def count(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = net(photos).square().sum()
    loss.backward()
    found = [p.grad.clone() for p in net.parameters()]
    maps = [photos]
    for layer in net.layers:
        maps.append(torch.relu(torch.cat([conv(torch.cat(maps, 1)) for conv in layer.convs], 1)))
    expected = torch.autograd.grad(torch.cat(maps, 1).square().sum(), list(net.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert sum(kept) < 3 * net(photos).numel()  # quadratic in depth it would be 20 times that


def weights_file(folder, name="resnet10t", **changes):
    backbone = TimmBackbone(3, name)
    state = {key: tensor.clone() for key, tensor in backbone.model.state_dict().items()} | changes
    state = {key: tensor.contiguous() for key, tensor in state.items() if tensor is not None}
    save_file(state, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors", state


def started(file, name="resnet10t", color="srgb", freeze=0):
    config = load_config(
        [f"backbone={name}", f"backbone.weights={file}", f"backbone.freeze={freeze}", f"image.color={color}"]
    )
    net = build_regressor(config, BINS).network
    channels = 1 if color == "grayscale" else 3
    return net, initialize(net, config, "regressor", torch.full((channels,), 0.3), torch.ones(channels))


def test_weights_of_a_file_are_loaded_with_their_own_normalisation(tmp_path):
    file, state = weights_file(tmp_path, fc_weight=torch.zeros(2))
    net, notes = started(file)
    assert torch.equal(net.backbone.model.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    assert net.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert "not used: fc_weight" in notes[0]
    net, notes = started(file, color="optical_density")
    assert net.mean.tolist() == pytest.approx([0.3] * 3)
    assert "image.color=srgb" in notes[1]


def test_weights_for_three_channels_are_added_up_for_one(tmp_path):
    file, state = weights_file(tmp_path)
    net, _ = started(file, color="grayscale")
    torch.testing.assert_close(net.backbone.model.conv1[0].weight, state["conv1.0.weight"].sum(1, keepdim=True))


def test_partial_loading_is_said(tmp_path):
    file, _ = weights_file(tmp_path, **{"bn1.weight": None})
    _, notes = started(file)
    assert "not in it, and left random: bn1.weight" in notes[0]


def test_the_names_of_the_whole_network_fit_those_of_its_features(tmp_path):
    import timm

    whole = timm.create_model("convnext_atto")
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    net, notes = started(tmp_path / "whole.safetensors", "convnext_atto")
    assert "left random" not in notes[0]
    assert torch.equal(net.backbone.model.stages_0.blocks[0].conv_dw.weight, whole.stages[0].blocks[0].conv_dw.weight)


@pytest.mark.slow
def test_files_that_hold_no_such_weights_get_one_line(tmp_path):
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04\x95" + bytes(100))
    file, _ = weights_file(tmp_path)
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-1000])
    other, _ = weights_file(tmp_path, "resnet18")
    weights_file(tmp_path, "resnet34")
    for path, words in (
        ("none.safetensors", "no such file"),
        ("pickle.pt", "never loaded"),
        ("cut.safetensors", "damaged"),
        (other.name, "another network than resnet10t"),
    ):
        with pytest.raises(BackboneError, match=words) as error:
            started(tmp_path / path)
        one_line(error)
    for path, name in (("resnet34", "resnet18"), ("resnet18", "resnet34")):  # each holds much of the other
        with pytest.raises(BackboneError, match=f"another network than {name}"):
            started(tmp_path / f"{path}.safetensors", name)


def test_a_file_and_the_hub_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        load_config(["backbone=resnet10t", "backbone.pretrained=true", "backbone.weights=x.safetensors"])


def test_trained_weights_of_the_hub_are_loaded(monkeypatch):
    import timm

    real = timm.create_model
    torch.manual_seed(7)
    theirs = real("resnet10t")
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained=False, **o: theirs if pretrained else real(name, **o)
    )
    config = load_config(["backbone=resnet10t", "backbone.pretrained=true"])
    net = build_regressor(config, BINS).network
    notes = initialize(net, config, "regressor", torch.zeros(3), torch.ones(3))
    assert torch.equal(net.backbone.model.layer2[0].conv1.weight, theirs.layer2[0].conv1.weight)
    assert "not used: fc.bias, fc.weight" in notes[0]


def test_a_regressor_with_weights_of_its_own_keeps_them(tmp_path):
    file, state = weights_file(tmp_path)
    own = ["+backbone@regressor.backbone=resnet10t", f"regressor.backbone.weights={file}"]
    config = load_config(["backbone=resnet10t", "image.color=srgb", *own])
    classifier, regressor = build_classifier(config, BINS), build_regressor(config, BINS)
    for stage, name in ((classifier, "classifier"), (regressor, "regressor")):
        initialize(stage.network, config, name, torch.full((3,), 0.8), torch.ones(3))
    assert starts_from_own_weights(config)
    assert warm_start(regressor, classifier, keep_backbone=True) == []
    assert torch.equal(regressor.network.backbone.model.conv1[0].weight, state["conv1.0.weight"])
    assert regressor.network.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    warm_start(regressor, classifier)
    assert regressor.network.mean.tolist() == pytest.approx([0.8] * 3)


def test_a_network_whose_stages_cannot_be_told_apart_is_not_frozen():
    with pytest.raises(BackboneError, match="leave it 0"):
        TimmBackbone(3, "hrnet_w18_small", freeze=1)


@pytest.mark.parametrize("wrong", [OSError("no\nnetwork"), RuntimeError("hub")])
def test_trained_weights_without_a_network_say_what_to_do(monkeypatch, wrong):
    import timm

    real = timm.create_model

    def create(name, pretrained=False, **options):
        if pretrained:
            raise wrong
        return real(name, **options)

    monkeypatch.setattr(timm, "create_model", create)
    config = load_config(["backbone=resnet10t", "backbone.pretrained=true"])
    with pytest.raises(BackboneError, match=r"timm/resnet10t\.\w+ elsewhere and say backbone\.weights=FILE") as error:
        initialize(build_regressor(config, BINS).network, config, "regressor", torch.zeros(3), torch.ones(3))
    one_line(error)


def test_frozen_stages_keep_weights_and_statistics(tmp_path):
    file, _ = weights_file(tmp_path)
    net, _ = started(file, freeze=3)
    before = copy.deepcopy(net.backbone.model.state_dict())
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    estimate(net, images(4, size=64)).square().sum().backward()
    optimizer.step()
    after = net.backbone.model.state_dict()
    changed = {key.split(".")[0] for key, value in after.items() if not value.equal(before[key])}
    assert changed == {"layer3", "layer4"}  # stages 1 to 3 are the stem, layer1 and layer2


def test_freezing_needs_weights_and_stages(tmp_path):
    config = load_config(["backbone=resnet10t", "backbone.freeze=2"])
    with pytest.raises(BackboneError, match=r"backbone\.freeze"):
        initialize(build_regressor(config, BINS).network, config, "classifier", torch.zeros(3), torch.ones(3))
    with pytest.raises(BackboneError, match="has 5 stages"):
        TimmBackbone(3, "resnet10t", freeze=6)


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
    colors = pooled[:, :-5].view(4, 8, channels)
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
    torch.testing.assert_close(pooled[:, 24:], feature_map.mean((2, 3)))


def test_normalisation_is_of_the_training_set_and_not_of_the_image():
    net = network(CompactConfig(widths=[4], strides=[2], dilations=[1]))
    training = images(8) * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    net.eval().normalize(*statistics(training))
    torch.testing.assert_close(net.mean, training.mean((0, 2, 3)))
    assert not torch.allclose(net.pooled(training[:1]), net.pooled(training[:1] * 1.1))


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


@pytest.mark.parametrize("options", [{"widths": []}, {"widths": [8, 0]}, {"depth": 0}])
def test_vgg_without_channels_is_refused(options):
    with pytest.raises(BackboneError, match="widths"):
        build_backbone(VggConfig(**options), 3)


@pytest.mark.parametrize("options", [{"widths": [8]}, {"strides": [4, 1, 1, 1, 1, 1]}, {"strides": [1, 1, 1, 1, 1, 2]}])
def test_group_networks_that_do_not_fit_are_refused(options):
    config = backbone_config("p4m")
    for key, value in options.items():
        setattr(config, key, value)
    with pytest.raises(BackboneError, match="strides"):
        build_backbone(config, 3)


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

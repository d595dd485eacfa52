import json

import pytest
import torch
from small_stages import BINS, differing, options_of, parts

from twostage import load_config
from twostage.options.run import TrainConfig
from twostage.stages.build import build_classifier, build_regressor
from twostage.training import precision
from twostage.training.course import Course
from twostage.training.fit import fit
from twostage.training.precision import Plan, apply_plan, choose_plan, set_precision

TIMES = {
    Plan("float32", True): 1.0,
    Plan("float32", False): 1.0,
    Plan("bfloat16", True): 1.0,
    Plan("bfloat16", False): 1.0,
}


def chosen(monkeypatch, times, wanted="auto", memory=None):
    monkeypatch.setattr(precision, "seconds_per_step", lambda plan, *_: (TIMES | times)[plan])
    stage = build_regressor(options_of(), BINS)
    return choose_plan(stage, torch.rand(4, 3, 32, 32), torch.zeros(4, 2, 3), wanted, memory)


@pytest.mark.parametrize(
    ("times", "wanted", "plan"),
    [
        ({}, "auto", Plan("float32", True)),
        ({Plan("bfloat16", True): 0.5}, "auto", Plan("bfloat16", True)),
        ({Plan("bfloat16", True): 0.95}, "auto", Plan("float32", True)),  # within the noise
        ({Plan("bfloat16", True): 0.5, Plan("bfloat16", False): 0.3}, "auto", Plan("bfloat16", False)),
        ({Plan("bfloat16", True): 0.5}, "float32", Plan("float32", True)),
        ({Plan("float32", False): 0.5}, "float32", Plan("float32", False)),
        ({Plan("bfloat16", True): 9.0}, "bfloat16", Plan("bfloat16", False)),
    ],
)
def test_the_fastest_is_chosen_if_it_is_clearly_so(monkeypatch, times, wanted, plan):
    assert chosen(monkeypatch, times, wanted) == plan


def test_the_choice_is_remembered(monkeypatch, tmp_path):
    memory = tmp_path / "plans.json"
    assert chosen(monkeypatch, {Plan("bfloat16", True): 0.5}, memory=memory) == Plan("bfloat16", True)
    assert chosen(monkeypatch, {}, memory=memory) == Plan("bfloat16", True)
    assert chosen(monkeypatch, {}, "float32", memory=memory) == Plan("float32", True)
    assert len(json.loads(memory.read_text())) == 2


@pytest.mark.parametrize("content", ["", "[1]", '{"a": {"b": 1}}', '{"a": 3}'])
def test_a_damaged_memory_is_measured_again(monkeypatch, tmp_path, content):
    memory = tmp_path / "plans.json"
    memory.write_text(content)
    assert chosen(monkeypatch, {Plan("bfloat16", True): 0.5}, memory=memory) == Plan("bfloat16", True)
    assert chosen(monkeypatch, {}, memory=memory) == Plan("bfloat16", True)


def test_a_memory_that_cannot_be_written_is_no_hindrance(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    memory = tmp_path / "file" / "plans.json"
    assert chosen(monkeypatch, {Plan("bfloat16", True): 0.5}, memory=memory) == Plan("bfloat16", True)


def test_measuring_changes_nothing():
    vgg = load_config(["image.size=32", "bins.count=3", "backbone=vgg", "backbone.widths=[4,4]"])  # with dropout
    stage = build_classifier(vgg, BINS)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    images, state = torch.rand(4, 3, 32, 32), torch.get_rng_state()
    choose_plan(stage, images, torch.full((4, 3), 1 / 3))
    assert all(torch.equal(value, before[name]) for name, value in stage.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert stage.network.precision == torch.float32


def test_only_the_backbone_is_of_low_precision():
    stage = build_regressor(options_of(), BINS).eval()
    images, types = torch.rand(4, 3, 32, 32), {}
    for name, module in (("backbone", stage.network.backbone), ("pooling", stage.network.pooling)):
        module.register_forward_hook(lambda _, inputs, output, name=name: types.update({name: output.dtype}))
    exact, _ = stage(images)
    assert types == {"backbone": torch.float32, "pooling": torch.float32}
    set_precision(stage, torch.bfloat16)
    rough, _ = stage(images)
    assert types == {"backbone": torch.bfloat16, "pooling": torch.float32}
    assert rough.dtype == torch.float32
    assert 0 < float((exact - rough).detach().abs().max()) < 0.05


@pytest.mark.parametrize("build", [build_classifier, build_regressor])
def test_training_in_low_precision_learns_and_hands_out_float32(build):
    stage = build(options_of(), BINS)
    train, validation = parts(stage, options_of())
    options = TrainConfig(batch_size=8, learning_rate=0.01, ema_decay=0.9)
    course = Course(options, 20, "stage", "optical_density", plan=Plan("bfloat16"), progress=False)
    history = fit(stage, train, validation, course)
    assert history[-1].best_rmse < 0.7 * validation.concentration.std()
    assert stage.network.precision == torch.float32
    assert {value.dtype for value in stage.state_dict().values() if value.is_floating_point()} == {torch.float32}
    exact = build(options_of(), BINS)
    fit(exact, train, validation, Course(options, 20, "stage", "optical_density", progress=False))
    assert differing(stage, exact)


@pytest.mark.parametrize("layout", [True, False])
def test_the_layout_is_laid(layout):
    stage = build_classifier(options_of(), BINS)
    apply_plan(Plan("float32", layout), stage)
    weight = next(p for p in stage.network.backbone.parameters() if p.ndim == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last if layout else torch.contiguous_format)

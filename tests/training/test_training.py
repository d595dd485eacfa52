import io
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from small_stages import BINS, CPU, Line, differing, line_examples, options_of, parts
from torch import nn

from twostage import load_config
from twostage.data.color import to_color, to_srgb
from twostage.errors import DeviceError, TrainingError
from twostage.options.run import AugmentConfig, TrainConfig
from twostage.stages.build import build_classifier, build_regressor
from twostage.training.course import Course, Examples
from twostage.training.device import resolve_device, use_threads
from twostage.training.fit import fit
from twostage.training.optimizer import Average, build_optimizer, build_schedule
from twostage.training.order import stream_seed
from twostage.training.progress import Epoch, history_table


def train_line(stage, train=None, validation=None, *, epochs=2, seed=0, label="line", **options):
    train = line_examples() if train is None else train
    options = {"batch_size": 4, "ema_decay": 0.0, "schedule": "constant", "learning_rate": 0.05} | options
    course = Course(TrainConfig(**options), epochs, label, "srgb", seed=seed, progress=False)
    return fit(stage, train, train if validation is None else validation, course)


def train_stage(build, *overrides, epochs=2, seed=0, **options):
    config = options_of(*overrides)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = build(config, BINS)
    train, validation = parts(stage, config)
    options = TrainConfig(**({"batch_size": 8} | options))
    course = Course(options, epochs, "stage", config.image.color, config.augment, seed, progress=False)
    return stage, fit(stage, train, validation, course), validation


def rmse_of(stage, examples, color):
    stage.eval()
    with torch.no_grad():
        found = stage.estimate(to_color(to_srgb(examples.pixels, CPU), color), examples.targets)
    return float(np.sqrt(np.mean((found.double().numpy() - examples.concentration) ** 2)))


def test_stream_seed_is_a_function_of_its_words():
    assert stream_seed(3, "regressor", 4, 5) == stream_seed(3, "regressor", 4, 5)
    assert 0 <= stream_seed(2**31 - 1, "regressor", 10**6, 10**6, "augment") < 2**63


def test_stream_seed_depends_on_every_word():
    words = [
        (0, "a", 1, 2),
        (1, "a", 1, 2),
        (0, "b", 1, 2),
        (0, "a", 2, 2),
        (0, "a", 1, 3),
        (0, "a", 2, 1),
        (0, "a", 1, 2, "augment"),
        (0, "a", 1, 2, "dropout"),
        (0, "a", 1),
        (0, "a"),
        (0,),
    ]
    assert len({stream_seed(*word) for word in words}) == len(words)


@pytest.mark.parametrize(("count", "batch_size"), [(12, 4), (13, 4), (15, 4), (3, 8), (9, 2), (7, 7), (2, 64)])
def test_batches_hold_every_image_once(count, batch_size):
    stage = Line()
    train_line(stage, line_examples(count), epochs=3, batch_size=batch_size)
    steps = max(1, count // batch_size)
    assert len(stage.seen) == 3 * steps
    orders = []
    for epoch in range(3):
        batches = stage.seen[epoch * steps : (epoch + 1) * steps]
        assert sorted(itertools.chain(*batches)) == list(range(count))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= 1
        orders.append(list(itertools.chain(*batches)))
    if count > 5:
        assert orders[0] != orders[1] != orders[2]


class Watching(Line):
    """Notes in which orientation it sees a photograph."""

    def loss(self, images, targets):
        self.seen.append(tuple(images[0, 0].flatten().tolist()))
        return self(images).square().mean()


def orientations(augmentation, seed=0):
    stage = Watching()
    one = Examples(["p"], np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3), np.ones(1), torch.ones(1))
    fit(stage, one, one, Course(TrainConfig(batch_size=2), 40, "line", "srgb", augmentation, seed, progress=False))
    return stage.seen


def test_augmentation_is_new_in_every_epoch():
    seen = orientations(AugmentConfig())
    assert len(set(seen)) == 8
    assert seen == orientations(AugmentConfig())
    assert seen != orientations(AugmentConfig(), seed=1)
    assert len(set(orientations(AugmentConfig(quarter_turns=False, flips=False)))) == 1


def test_photographs_and_targets_stay_together():
    # the mean colour tells the target exactly, so a line finds it unless the rows are mixed up
    values = np.linspace(0, 1, 16)
    pixels = np.broadcast_to(np.rint(values * 255).astype(np.uint8)[:, None, None, None], (16, 4, 4, 3)).copy()
    examples = Examples([""] * 16, pixels, values, torch.from_numpy(values).float())
    history = train_line(Line(), examples, epochs=40, schedule="one_cycle")
    assert history[-1].best_rmse < 0.02


@pytest.mark.parametrize("build", [build_classifier, build_regressor])
@pytest.mark.parametrize(
    "overrides",
    [[], ["augment=any_angle", "augment.noise=0.05", "augment.brightness=0.05"]],
    ids=["turns", "every augmentation"],
)
def test_same_seed_same_weights_bit_for_bit(build, overrides):
    torch.manual_seed(1)
    one, history, _ = train_stage(build, *overrides)
    torch.manual_seed(2)  # what happened before must not matter
    same, history_of_same, _ = train_stage(build, *overrides)
    other, _, _ = train_stage(build, *overrides, seed=1)
    assert differing(one, same) == []
    assert [row.validation_rmse for row in history] == [row.validation_rmse for row in history_of_same]
    assert differing(one, other)


def test_dropout_is_reproducible_and_at_work():
    def vgg(rate, seed=0):
        overrides = ("image.size=32", "bins.count=3", "backbone=vgg", "backbone.widths=[4,4]")
        config = load_config([*overrides, f"backbone.dropout={rate}"])
        stage = build_classifier(config, BINS)
        train, validation = parts(stage, config, 16, 6)
        course = Course(TrainConfig(batch_size=8), 2, "classifier", "optical_density", config.augment, seed)
        fit(stage, train, validation, course)
        return stage

    torch.manual_seed(1)
    one = vgg(0.4)
    torch.manual_seed(2)
    assert differing(one, vgg(0.4)) == []
    assert differing(one, vgg(0.0))


def test_label_gives_each_stage_its_own_order():
    one, other = Line(), Line()
    train_line(one, label="classifier")
    train_line(other, label="regressor")
    assert one.seen != other.seen


@pytest.mark.parametrize("build", [build_classifier, build_regressor])
def test_training_learns_more_than_the_mean(build):
    _, history, validation = train_stage(build, epochs=20, learning_rate=0.01, ema_decay=0.9)
    rmse_of_mean = validation.concentration.std()  # the best that a constant can do here
    assert history[-1].best_rmse < 0.7 * rmse_of_mean
    assert history[-1].train_loss < history[0].train_loss


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_best_weights_are_kept(ema_decay):
    stage, history, validation = train_stage(
        build_regressor, epochs=6, learning_rate=0.05, ema_decay=ema_decay, schedule="constant"
    )
    found = [row.validation_rmse for row in history]
    assert rmse_of(stage, validation, "optical_density") == pytest.approx(min(found), rel=1e-6)
    np.testing.assert_array_equal([row.best_rmse for row in history], np.minimum.accumulate(found))


def constant_examples(value):
    black = np.zeros((12, 4, 4, 3), np.uint8)
    return Examples([""] * 12, black, np.full(12, float(value)), torch.full((12,), float(value)))


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_best_weights_are_kept_when_training_goes_past_them(ema_decay):
    stage, validation = Line(), constant_examples(3)
    history = train_line(
        stage, constant_examples(20), validation, epochs=6, learning_rate=0.5, ema_decay=ema_decay
    )  # from 0 over 3 to about 9
    found = [row.validation_rmse for row in history]
    assert 0 < np.argmin(found) < 5
    assert rmse_of(stage, validation, "srgb") == pytest.approx(min(found), rel=1e-6)


def test_the_last_weights_are_kept_where_that_is_wished():
    stage, validation = Line(), constant_examples(3)
    options = TrainConfig(batch_size=4, ema_decay=0.0, schedule="constant", learning_rate=0.5)
    course = Course(options, 6, "line", "srgb", progress=False, keep_last=True)
    found = [row.validation_rmse for row in fit(stage, constant_examples(20), validation, course)]
    assert min(found) < found[-1]
    assert rmse_of(stage, validation, "srgb") == pytest.approx(found[-1], rel=1e-6)


def test_the_averaged_weights_are_the_ones_kept():
    plain, averaged = Line(), Line()
    train_line(plain, epochs=2)  # the average begins as a copy, so one epoch of one update shows no difference
    train_line(averaged, epochs=2, ema_decay=0.9)
    assert plain.seen == averaged.seen
    assert differing(plain, averaged)


class Scripted(Line):
    """A stage whose validation error in each epoch is written in advance."""

    def __init__(self, errors):
        super().__init__()
        self.errors = iter(errors)
        self.register_buffer("epoch", torch.zeros(()))

    def estimate(self, images, targets):
        self.epoch += 1
        return targets + next(self.errors)


def test_patience_stops_early():
    stage = Scripted([5, 4, 3, 3.5, 3.2, 3.1, 1, 1, 1, 1])
    history = train_line(stage, epochs=10, patience=3)
    assert [row.validation_rmse for row in history] == pytest.approx([5, 4, 3, 3.5, 3.2, 3.1])
    assert stage.epoch == 3  # the buffer went back with the best weights


def test_without_patience_every_epoch_is_trained():
    history = train_line(Scripted([1, 2, 3, 4, 5, 6]), epochs=6)
    assert [row.epoch for row in history] == [1, 2, 3, 4, 5, 6]
    assert [row.best_rmse for row in history] == pytest.approx([1] * 6)


@pytest.mark.parametrize(
    ("errors", "best"), [([math.nan, 2, 1, 3], 3), ([2, math.nan, 1, 3], 3), ([math.nan, 2, 3], 2)]
)
def test_an_epoch_without_a_number_is_never_the_best(errors, best):
    stage = Scripted(errors)
    try:
        history = train_line(stage, epochs=len(errors))
    except TrainingError:  # to stop there is right as well
        return
    assert stage.epoch == best
    assert history[-1].best_rmse == pytest.approx(errors[best - 1])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training(wrong):
    examples = line_examples(8)
    targets = examples.targets.clone()
    targets[5] = wrong
    stage = Line()
    with pytest.raises(TrainingError) as error:
        train_line(stage, Examples(examples.names, examples.pixels, examples.concentration, targets), label="regressor")
    message = str(error.value)
    assert "\n" not in message
    assert "p5" in message
    assert message.startswith("regressor: the loss is ")
    assert all(p.isfinite().all() for p in stage.parameters())


class Steep(Line):
    """A finite loss with a gradient that is not."""

    def loss(self, images, targets):
        return (self(images) * 0).abs().sqrt().mean()


def test_weights_that_are_no_numbers_are_not_handed_out():
    stage = Steep()
    with pytest.raises(TrainingError):
        train_line(stage, epochs=1, batch_size=12)  # one step: no later loss can tell


@pytest.mark.parametrize("where", ["finished", "failed"])
def test_fit_leaves_the_global_random_state_alone(where):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    if where == "finished":
        train_line(Line())
    else:
        examples = line_examples()
        broken = Examples(examples.names, examples.pixels, examples.concentration, examples.targets * math.nan)
        with pytest.raises(TrainingError):
            train_line(Line(), broken)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_history_is_a_table():
    history = train_line(Line(), epochs=2)
    table = pd.read_csv(io.StringIO(history_table(history)))
    assert list(table.columns) == list(Epoch.__dataclass_fields__)
    assert list(table["epoch"]) == [1, 2]
    assert (table[["seconds", "images_per_second"]] > 0).all(axis=None)
    np.testing.assert_allclose(table["validation_rmse"], [row.validation_rmse for row in history])


def rates(name, steps=100, warmup=0.2):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, name, steps, warmup)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(found)


@pytest.mark.parametrize("warmup", [0.1, 0.2, 0.5])
def test_one_cycle_rises_and_falls(warmup):
    found = rates("one_cycle", warmup=warmup)
    peak = round(100 * warmup)
    assert found[0] == pytest.approx(0.04)
    assert found.max() == found[peak] == pytest.approx(1)
    assert found[-1] < 0.01
    assert (np.diff(found[: peak + 1]) > 0).all()
    assert (np.diff(found[peak:]) < 0).all()


@pytest.mark.parametrize("steps", [5, 7, 33])
def test_one_cycle_of_few_steps_still_trains(steps):
    found = rates("one_cycle", steps)
    assert found.max() > 0.8
    assert (found > 0).all()


def test_one_cycle_without_warmup_only_falls():
    found = rates("one_cycle", warmup=0.0)
    assert found[0] == pytest.approx(1)
    assert (np.diff(found) < 0).all()


def test_cosine_falls():
    found = rates("cosine")
    assert found[0] == pytest.approx(1)
    assert (np.diff(found) < 0).all()
    assert found[50] == pytest.approx(0.5, abs=0.01)
    assert found[-1] < 0.01


def test_constant_stays():
    assert (rates("constant") == 1).all()


def test_learning_rate_of_history_is_the_schedules():
    history = train_line(Line(), epochs=4, schedule="cosine", learning_rate=0.5)
    found = [row.learning_rate for row in history]
    assert found == sorted(found, reverse=True)
    assert found[0] < 0.5
    assert found[-1] == pytest.approx(0.5e-3)


def small_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))


def test_biases_and_norms_are_not_decayed():
    network = small_network()
    nn.init.ones_(network[0].bias)
    nn.init.ones_(network[4].bias)
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = build_optimizer(network, 0.1, 0.5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = {key for key, value in network.named_parameters() if not torch.equal(value, before[key])}
    assert shrunk == {"0.weight", "4.weight"}
    torch.testing.assert_close(network[0].weight, before["0.weight"] * (1 - 0.1 * 0.5))


def test_optimizer_has_every_parameter_once_but_for_frozen_ones():
    network = small_network()
    network[0].weight.requires_grad_(False)
    grouped = [id(p) for group in build_optimizer(network, 0.1, 0.5).param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def fill(network, value):
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(value)


def test_the_average_of_constant_weights_is_these():
    network = small_network()
    average = Average(network, 0.99)
    for _ in range(5):
        average.update_parameters(network)
    assert differing(average.module, network) == []


def test_the_average_follows():
    network = small_network().double()
    fill(network, 0)
    average = Average(network, 0.9)
    average.update_parameters(network)
    fill(network, 1)
    seen = []
    for _ in range(80):
        average.update_parameters(network)
        seen.append(average.module[0].weight.flatten()[0].item())
        for tensor in (average.module[1].running_mean, average.module[4].bias):
            assert (tensor == seen[-1]).all()
        assert average.module[1].num_batches_tracked == 1
    assert seen[0] > 0.5, "the memory is short in the first steps"
    assert all(0 < a <= b <= 1 for a, b in itertools.pairwise(seen))
    assert seen[-1] > 0.99
    # in the long run one step forgets a tenth
    assert (1 - seen[-1]) / (1 - seen[-2]) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("count", "steps"), [(12, [3]), (20, [4, 1]), (28, [4, 3])])
def test_the_memory_of_the_average_is_counted_in_steps(monkeypatch, count, steps):
    update, since = Average.update_parameters, []
    monkeypatch.setattr(
        Average, "update_parameters", lambda self, stage: [since.append(self.steps), update(self, stage)]
    )
    train_line(Line(), line_examples(count), epochs=2, ema_decay=0.99)
    assert since == 2 * steps


@pytest.mark.parametrize("steps", [1, 3])
def test_an_update_forgets_as_much_as_its_steps(steps):
    network = small_network().double()
    average = Average(network, 0.5)
    average.steps = steps
    fill(network, 0)
    for _ in range(50):
        average.update_parameters(network)
    fill(network, 1)
    average.update_parameters(network)
    assert average.module[4].bias[0].item() == pytest.approx(1 - 0.5**steps)


def test_the_average_does_not_touch_the_network():
    network = small_network()
    average = Average(network, 0.5)
    average.update_parameters(network)
    before = network[0].weight.clone()
    fill(average.module, 7)
    average.update_parameters(network)
    assert torch.equal(network[0].weight, before)


@pytest.mark.parametrize("name", ["cuda:9", "tpu", "", "cpu:1"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(DeviceError) as error:
        resolve_device(name)
    message = str(error.value)
    assert "\n" not in message
    assert f"runtime.device={name} " in message
    assert "cpu" in message.split("this machine has")[1]
    for i in range(torch.cuda.device_count()):
        assert f"cuda:{i}" in message


def test_devices_that_are_there():
    assert resolve_device("cpu") == CPU
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == expected


def test_threads():
    before = torch.get_num_threads()
    try:
        use_threads(2)
        assert torch.get_num_threads() == 2
        use_threads(0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

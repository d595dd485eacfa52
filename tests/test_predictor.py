"""One predictor for many threads, and every collection that a user may bring."""

import copy
import io
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TINY
from PIL import Image

from twostage import Predictor
from twostage.data.simulated import render_photographs, sample_targets

COUNT = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A predictor with all that trust learns, which reads over eight views, and photographs of several sizes."""
    from twostage import load_config, train

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(load_config([*TINY, "run=a", "combine.views=8", "pooling=surfaces", "data.count=100"]))
    targets = sample_targets(COUNT, 80, 350, "uniform", 7)
    for i, target in enumerate(targets):
        pixels = render_photographs(np.array([target]), (32, 47, 250)[i % 3], i)[0]
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no photograph")
    return Predictor.load(folder / "outputs/a", "cpu"), [folder / f"{i}.png" for i in range(COUNT)]


def equal(one, other):
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), check_exact=True)
    np.testing.assert_array_equal(one.bin_probabilities, other.bin_probabilities)
    for mine, theirs in zip(one.reading, other.reading, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_many_threads_read_with_one_predictor_as_one_alone(trained):
    predictor, files = trained
    chunks = [files[i : i + 1 + i % 3] for i in range(COUNT)] + [[files[0].parent / "broken.png"]]
    alone = [predictor.predict(chunk) for chunk in chunks]
    pixels = render_photographs(np.array([100.0, 300.0]), 32, 3)
    masks, moved = predictor.masks(pixels), predictor.explain(pixels[0], detail=3).concentration
    with ThreadPoolExecutor(16) as pool:
        read = [pool.submit(predictor.predict, chunk) for _ in range(3) for chunk in chunks]
        looked = [pool.submit(predictor.masks, pixels) for _ in range(6)]
        explained = [pool.submit(predictor.explain, pixels[0], detail=3) for _ in range(3)]
        for i, future in enumerate(read):
            equal(future.result(), alone[i % len(chunks)])
        assert all(np.array_equal(future.result(), masks) for future in looked)
        assert all(np.array_equal(future.result().concentration, moved) for future in explained)


def test_threads_may_give_the_same_open_file_and_image(trained):
    predictor, files = trained
    shared = [io.BytesIO(files[2].read_bytes()), Image.open(files[2])]
    alone = predictor.predict([files[2]])
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(predictor.predict, [shared[i % 2]]) for i in range(16)]:
            equal(future.result(), alone)


def test_reading_changes_nothing_of_the_model(trained):
    predictor, files = trained
    network = predictor.model.network
    before, settings = copy.deepcopy(network.state_dict()), (torch.get_num_threads(), torch.is_grad_enabled())
    assert not any(module.training for module in network.modules())
    predictor.predict(files[:3])
    predictor.explain(files[0], detail=2)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module.training or module._forward_hooks for module in network.modules())
    assert settings == (torch.get_num_threads(), torch.is_grad_enabled())


@pytest.mark.parametrize(
    "kind",
    [list, tuple, deque, iter, pd.Series, np.array, lambda one: (file for file in one), lambda one: map(str, one)],
    ids=["list", "tuple", "deque", "iterator", "Series", "array", "generator", "map"],
)
def test_any_iterable_is_read_alike(trained, kind):
    predictor, files = trained
    equal(predictor.predict(kind(files[:5])), predictor.predict(files[:5]))


def test_boxes_may_be_a_list(trained):
    predictor, files = trained
    whole = predictor.predict([files[0]])
    equal(predictor.predict([files[0]], boxes=[[0, 0, 32, 32]]), whole)


def test_a_prediction_of_a_trained_model_is_drawn_and_explained(trained, drawn, tmp_path):
    predictor, files = trained
    prediction = predictor.predict([files[0], files[0].parent / "broken.png"])
    prediction.plot(0).savefig(tmp_path / "read.png")
    prediction.plot(1).savefig(tmp_path / "refused.png")
    predictor.explain(files[0], detail=3).save(tmp_path / "explained.png")
    for name in ("read", "refused", "explained"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png")).std() > 5
    assert prediction.plot(1).get_suptitle().startswith("refused: ")

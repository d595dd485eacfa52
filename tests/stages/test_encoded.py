import numpy as np
import pytest
import torch
import torch.nn.functional as F

from twostage import Bins, load_config
from twostage.errors import ConfigError
from twostage.stages.build import build_classifier
from twostage.stages.refit import Seen

BINS = Bins.uniform(80, 350, 12)
SMALL = ["image.size=32", "backbone.widths=[4,6]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]", "pooling=mean"]


def model(encoding):
    """One that is given pooled vectors (N,6) in place of images."""
    stage = build_classifier(load_config([*SMALL, "method=classifier", f"classifier.encoding={encoding}"]), BINS)
    stage.network.pooled = lambda vectors: vectors
    return stage


def seen(count, seed):
    pooled = np.random.default_rng(seed).standard_normal((count, 6))
    return Seen(pooled, 215 + 60 * np.tanh(pooled[:, 0]) + 20 * pooled[:, 1])


def learn(stage, photos, steps=600):
    optimizer = torch.optim.Adam(stage.parameters(), 0.03)
    pooled, targets = torch.from_numpy(photos.pooled).float(), stage.targets(photos.concentration)
    for step in range(steps):
        rows = slice(step * 32 % len(pooled), step * 32 % len(pooled) + 32)
        optimizer.zero_grad()
        stage.loss(pooled[rows], targets[rows]).backward()
        optimizer.step()


def error(stage, photos):
    with torch.no_grad():
        read = stage.estimate(torch.from_numpy(photos.pooled).float(), None).double().numpy()
    return np.sqrt(np.mean((read - photos.concentration) ** 2))


@pytest.mark.parametrize("encoding", ["soft_bins", "codes"])
def test_a_law_is_learned_with_all_that_encodes_it(encoding):
    stage, photos, fresh = model(encoding), seen(1600, 0), seen(400, 1)
    before = {name: value.clone() for name, value in stage.named_parameters() if "network" not in name}
    learn(stage, photos)
    assert error(stage, fresh) < 0.2 * fresh.concentration.std()
    assert all((value != before[name]).any() for name, value in stage.named_parameters() if name in before)


def test_soft_bins_cost_what_their_formula_says():
    stage, y = model("soft_bins"), torch.tensor([[100.0], [215.0], [340.0]])
    with torch.no_grad():
        stage.encoder.uniform_(-1, 1)
        stage.decoder.uniform_(-1, 1)
        stage.logits.weight.uniform_(-1, 1)
    vectors = torch.randn(3, 6)
    place, said = (stage.center + stage.half_width * one for one in (stage.encoder, stage.decoder))
    psi = (-((y - place) ** 2) / (2 * (0.25 * 22.5) ** 2)).softmax(1)
    pi = stage.probabilities(vectors)
    terms = ((y[:, 0] - psi @ said) / 22.5) ** 2 + (psi * (psi / pi).log()).nan_to_num().sum(1)
    expected = (terms + ((y[:, 0] - pi @ said) / 22.5) ** 2).mean()
    assert stage.loss(vectors, y).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_decoder_of_soft_bins_is_solved_and_taken_back_where_worse():
    stage, photos = model("soft_bins"), seen(1600, 0)
    learn(stage, photos, 100)
    before, after = stage.refit(photos, seen(200, 2))
    assert after < before
    assert error(stage, seen(200, 2)) == pytest.approx(after, rel=1e-4)
    kept = stage.decoder.clone()
    misleading = Seen(photos.pooled, photos.concentration[::-1].copy())
    assert stage.refit(misleading, seen(200, 2)) == pytest.approx((after, after))
    assert torch.equal(stage.decoder, kept)


def test_codes_cost_cross_entropy_and_two_regularizers():
    stage, y = model("codes"), torch.tensor([[100.0], [145.0]])
    vectors = torch.randn(2, 6)
    codes = stage.code(vectors)
    wanted = (-(y - stage.center).abs() / 22.5).softmax(1)
    apart = max(0.0, 2 * 45 / 22.5 - (codes[0] - codes[1]).abs().sum().item())
    smooth = ((stage.matrix[:, 1:] - stage.matrix[:, :-1]) ** 2).sum().item()
    expected = F.cross_entropy(codes @ stage.matrix, wanted).item() + (0.5 * apart + smooth) / 2
    assert stage.loss(vectors, y).item() == pytest.approx(expected, rel=1e-4)


def test_a_second_stage_over_bins_that_move_is_refused():
    with pytest.raises(ConfigError, match=r"classifier\.encoding=soft_bins needs method=classifier"):
        load_config(["classifier.encoding=soft_bins"])

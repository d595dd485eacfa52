"""`twostage export`: one file that reads as the model does, or none."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TINY, one_line
from PIL import Image
from small_model import small_model

from twostage import Bins, Predictor
from twostage.data.photographs import decode_photographs
from twostage.data.simulated import render_photographs
from twostage.errors import ExportError
from twostage.export import proof
from twostage.export.card import card
from twostage.export.photographs import photographs_for
from twostage.options.backbones import BACKBONES
from twostage.options.choices import COMBINATIONS, INTERVALS, POOLINGS
from twostage.options.compose import load_config
from twostage.trust.recalibration import Recalibration
from twostage.trust.status import Status

onnx = pytest.importorskip("onnx", reason="onnx is not installed: twostage[export]")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: twostage[export]")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: twostage[export]")

from twostage.export.onnx_file import to_onnx  # noqa: E402

PIXELS = render_photographs(np.linspace(60, 370, 9), 32, 3)
SMALL = ["pooling=masks", "combine.views=1"]
"""What is quick to record."""


@pytest.fixture(scope="module")
def exported():
    """A small model of two members, and its file."""
    model = small_model(*SMALL, members=2, max_width=1000.0)
    return Predictor(model), to_onnx(model)


def test_the_file_reads_as_the_model_does_whatever_the_batch(exported):
    predictor, content = exported
    expected, session = predictor.read(PIXELS), proof.open_file(content)
    for at_once in (1, 4, 9):
        found = proof.read_file(session, PIXELS, at_once)
        np.testing.assert_allclose(found["concentration"], expected.concentration, atol=0.01)
        np.testing.assert_allclose(found["upper"], expected.upper, atol=0.01)
        np.testing.assert_allclose(found["bin_probabilities"], expected.bin_probabilities, atol=1e-4)
        np.testing.assert_allclose(found["masks"].sum((2, 3)), 1, atol=1e-5)
        assert [list(Status)[number].value for number in found["status"]] == expected.status.tolist()
    agreement = proof.prove(predictor, content, PIXELS)
    assert agreement.count == 9
    assert max(agreement.concentration, agreement.ends, agreement.probability) < 1e-4
    assert "intervals" in str(agreement)
    assert "intervals" not in str(replace(agreement, ends=None))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "members"),
    [(["augment.moves_target=false"], 1), (["combine.views=1"], 2), (["combine.views=1", "regressor.align=turn"], 1)],
    ids=["views", "members", "aligned"],
)
def test_a_file_of_a_circle_goes_around(overrides, members):
    bins = Bins.uniform(0, 360, 4, period=360)
    angles = ["bins.period=360", "bins.range=[0,360]", "augment.moves_target=true", "pooling=masks"]
    model = small_model(*angles, *overrides, members=members, bins=bins, max_width=1000.0)
    assert card(model)["period"] == 360
    agreement = proof.prove(Predictor(model), to_onnx(model), PIXELS)
    assert max(agreement.concentration, agreement.ends, agreement.probability) < 1e-5


def test_the_file_says_what_it_is_and_nothing_of_the_machine(exported):
    predictor, content = exported
    session = proof.open_file(content)
    [photographs], outputs = session.get_inputs(), session.get_outputs()
    assert (photographs.name, photographs.shape, photographs.type) == ("photographs", ["N", 32, 32, 3], "tensor(uint8)")
    assert {output.name: (output.shape, output.type) for output in outputs} == {
        "concentration": (["N"], "tensor(float)"),
        "lower": (["N"], "tensor(float)"),
        "upper": (["N"], "tensor(float)"),
        "bin_probabilities": (["N", 3], "tensor(float)"),
        "status": (["N"], "tensor(int32)"),
        "reason": (["N"], "tensor(int32)"),
        "distance": (["N"], "tensor(float)"),
        "masks": (["N", 8, 16, 16], "tensor(float)"),
    }
    assert json.loads(session.get_modelmeta().custom_metadata_map["twostage"]) == card(predictor.model)
    assert [entry.version for entry in onnx.load_from_string(content).opset_import] == [18]
    for word in (str(Path(torch.__file__).parents[1]), str(Path(proof.__file__).parents[2]), "site-packages"):
        assert word.encode() not in content


def test_a_file_of_another_model_is_found_out(exported):
    predictor, content = exported
    distance = predictor.model.trust.distance(PIXELS)
    typicality = predictor.model.trust.typicality

    def other(**change):
        return Predictor(replace(predictor.model, **change))

    moved = other(recalibration=Recalibration(0.1))
    with pytest.raises(ExportError, match=r"photograph 1 of 9 has concentration .*, by the predictor"):
        proof.prove(moved, content, PIXELS)
    wider = replace(predictor.model.trust, confidence=0.8)
    with pytest.raises(ExportError, match="has lower"):
        proof.prove(other(trust=wider), content, PIXELS)
    stricter = replace(typicality, threshold=float(np.median(distance)))
    with pytest.raises(ExportError, match="status"):
        proof.prove(other(trust=replace(predictor.model.trust, typicality=stricter)), content, PIXELS)
    with pytest.raises(ExportError, match="onnxruntime cannot run"):
        proof.open_file(b"this is no file of ONNX's")


def test_a_status_may_differ_where_a_number_lies_at_its_threshold(exported):
    predictor, content = exported
    trust, farthest = predictor.model.trust, predictor.model.trust.distance(PIXELS).max()
    found = {}
    for side in (-1e-6, 1e-6):
        typicality = replace(trust.typicality, threshold=float(farthest) + side)
        model = replace(predictor.model, trust=replace(trust, typicality=typicality))
        expected = proof._Expected(Predictor(model), PIXELS, Predictor(model).read(PIXELS))
        found[side] = proof.read_file(proof.open_file(content), PIXELS)
        numbers = {Status(status).value: i for i, status in enumerate(Status)}
        found[side]["status"] = np.array([numbers[one] for one in expected.prediction.status])
        found[side]["reason"] = (expected.prediction.reason != "").astype(int)
    assert (found[-1e-6]["status"] != found[1e-6]["status"]).sum() == 1
    expected = proof._Expected(Predictor(model), PIXELS, Predictor(model).read(PIXELS))
    assert expected.steady(found[1e-6], "photograph").all()
    assert expected.steady(found[-1e-6], "photograph").sum() == 8


EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "08_onnx.py"


def test_a_program_without_torch_reads_the_file(exported, here, monkeypatch, capsys):
    predictor, content = exported
    (here / "model.onnx").write_bytes(content)
    names = []
    for i, pixels in enumerate(render_photographs(np.array([100.0, 300.0]), 250, 4)):
        names.append(f"{i}.png")
        Image.fromarray(pixels[: 250 - 17 * i]).save(names[-1])
    monkeypatch.setattr("sys.argv", ["x", "model.onnx", *names])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    said, expected = capsys.readouterr().out.splitlines(), predictor.predict(names)
    for name, line, number, status in zip(names, said[::2], expected.concentration, expected.status, strict=True):
        assert line.startswith(f"{name}: {np.float32(number):.4g} ")
        assert line.endswith(status)
    modules = set(re.findall(r"^(?:import|from) (\w+)", EXAMPLE.read_text(), re.MULTILINE))
    assert modules == {"json", "sys", "numpy", "onnxruntime", "PIL"}


@pytest.mark.parametrize(("width", "height"), [(250, 250), (33, 97), (32, 64), (401, 250)])
def test_the_example_averages_areas_as_prediction_does(width, height):
    shares = {}
    exec(EXAMPLE.read_text().split("session =")[0], shares)  # its function, without its reading
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    down, across = (shares["shares"](length, 32) for length in (height, width))
    square = np.rint(np.einsum("yh,hwc,xw->yxc", down, pixels, across))
    expected, _ = decode_photographs([Image.fromarray(pixels)], 32, "stretch")
    assert np.abs(square - expected[0]).max() <= 1
    assert (square != expected[0]).mean() < 0.001


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["run=none", "output=a.onnx"], ["no run 'none'"]),
        (["output=a.onnx", "format=onx"], ["format=onx is not known", "onnx"]),
        (["output=folder"], ["output=folder is a folder"]),
        (["output=file/a.onnx"], ["cannot be written"]),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(here, run, overrides, words):
    (here / "folder").mkdir()
    (here / "file").write_text("")
    before = sorted(here.rglob("*"))
    one_line(run("export", *overrides), *words)
    assert sorted(here.rglob("*")) == before


def test_without_the_extra_it_says_what_to_install(here, run, monkeypatch):
    monkeypatch.setattr("twostage.export.onnx_file.find_spec", lambda name: None if name == "onnxscript" else True)
    one_line(run("export", "output=a.onnx"), "onnxscript", "pip install 'twostage[export]'")


def test_a_file_that_reads_otherwise_is_not_written(exported, here, once, run, monkeypatch):
    assert once("train", *TINY, "run=tiny")[0] == 0
    monkeypatch.setattr("twostage.export.command.to_onnx", lambda model: exported[1])
    one_line(run("export", "run=tiny", "output=a.onnx"), "does not read as the model does, so it was not written")
    assert not (here / "a.onnx").exists()


def test_photographs_of_the_training_prove_a_file_and_others_where_they_are_gone(photos):
    config = load_config(["run=x", "data=csv", "data.table=photos.csv", "image.size=32"])
    pixels, which = photographs_for(config)
    assert (pixels.shape, which) == ((24, 32, 32, 3), "24 photographs of photos.csv")
    for file in photos.glob("p*.png"):
        file.rename(file.with_suffix(".gone"))
    pixels, which = photographs_for(config)
    assert (len(pixels), which) == (24, "24 random scenes, for no photograph of the training can be read")
    config.data.table = "elsewhere.csv"
    assert "elsewhere.csv" in photographs_for(config)[1]


@pytest.mark.slow
def test_a_run_in_another_folder_is_proved_on_its_own_photographs(photos, run):
    (photos / "deep").mkdir()
    for file in [*photos.glob("p*.png"), photos / "photos.csv"]:
        file.rename(photos / "deep" / file.name)
    tiny = ["data=csv", "data.table=deep/photos.csv", "image.size=32", "train.epochs=2", "bins.count=3", "pooling=mean"]
    assert run("train", *tiny, "combine.views=1", "runtime.progress=false", "run=deep")[0] == 0
    code, out, _ = run("export", "run=deep", "output=a.onnx")
    assert code == 0
    assert "photographs of deep/photos.csv" in out


def test_photographs_that_are_drawn_are_others_than_those_of_the_training():
    config = load_config(["run=x", "image.size=32", "data.count=40"])
    pixels, which = photographs_for(config)
    assert (len(pixels), which) == (24, "24 photographs of the simulated assay")
    assert len(np.unique(pixels.reshape(24, -1), axis=0)) == 24


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        *(
            [f"backbone={name}"]
            for name in (*(name for name in BACKBONES if name not in ("timm", "compact")), "resnet10t")
        ),
        *([f"pooling={name}"] for name in POOLINGS),
        *([f"intervals.method={name}", "pooling=mean"] for name in INTERVALS),
        *([f"combine.method={name}", "pooling=mean"] for name in COMBINATIONS),
        ["image.color=grayscale", "data.minimum=80"],
        *([f"combine.limit={name}"] for name in ("clip", "logistic")),
        ["image.size=50"],
        ["+backbone@regressor.backbone=p4"],
    ],
    ids=" ".join,
)
def test_files_of_every_kind_are_proved(here, once, run, overrides):
    assert once("train", *TINY, *overrides, "run=tiny")[0] == 0
    status, out, err = run("export", "run=tiny", "output=a.onnx")
    assert (status, err.count("Traceback")) == (0, 0), err
    assert "every status is the same" in out
    assert (here / "a.onnx").stat().st_size > 50_000


@pytest.mark.slow
@pytest.mark.parametrize("method", ["direct", "classifier"])
@pytest.mark.parametrize("members", [1, 3])
def test_one_stage_and_several_members(here, run, photos, method, members):
    final = "folds" if members > 1 else "part"
    options = ["data=csv", "data.table=photos.csv", "data.group_column=group", f"train.final={final}", "split.folds=3"]
    options = options if members > 1 else options[:-1]
    tiny = ["image.size=32", "train.epochs=4", "bins.count=3", "bins.min_groups=1", "runtime.progress=false"]
    status, _, err = run("train", *tiny, *options, f"method={method}", "run=tiny")
    assert status == 0, err
    assert run("export", "run=tiny", "output=a.onnx")[0] == 0

import ast
import functools
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from twostage import Bins, Predictor, load_config
from twostage.errors import ConfigError, DeviceError, ModelFolderError
from twostage.model_folder import (
    FORMAT,
    TrainedModel,
    description_digest,
    load_model,
    save_description,
)
from twostage.stages import weights
from twostage.stages.build import build_classifier, build_regressor
from twostage.stages.reading import Reading
from twostage.stages.two_stage import TwoStage
from twostage.stages.weights import load_weights, save_weights
from twostage.trust.checks import BEYOND
from twostage.trust.prediction import predict
from twostage.trust.trust import Trust

CPU = torch.device("cpu")
TRUST = Trust().to_json()
BINS = Bins([80, 120, 200, 350])
TINY = ("image.size=32", "bins.count=3", "backbone.widths=[4,6]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]")
COLUMNS = "image,concentration,lower,upper,bin_index,bin_low,bin_high,bin_probability,status,reason"


@functools.cache
def options_of(*more):
    return load_config([*TINY, *more])


def build(*more):
    """An untrained model whose weights are not what loading starts from."""
    config = options_of(*more)
    direct = config.method == "direct"
    bins = Bins([80, 350]) if direct else BINS
    classifier = None if direct else build_classifier(config, bins)
    model = TrainedModel(
        TwoStage(bins, classifier, build_regressor(config, bins), config.image.color), bins, config, {}
    )
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        for stage in (model.network.classifier, model.network.regressor):
            if stage is not None:
                stage.network.mean.fill_(0.3)
                stage.network.std.fill_(0.4)
        if classifier is not None:
            classifier.temperature.fill_(1.7)
    model.network.eval()
    return model


def write(folder, model):
    if model.network.classifier is not None:
        save_weights(folder / "classifier.safetensors", model.network.classifier)
    save_weights(folder / "regressor.safetensors", model.network.regressor)
    save_description(folder, model.config, model.bins, n_train=12)
    return folder


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return write(tmp_path_factory.mktemp("run") / "model", model)


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the model folder, to damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture(scope="module")
def predictor(saved):
    return Predictor.load(saved, device="cpu")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(predictor, pixels):
    return predictor.predict(pixels)


@pytest.fixture(scope="module")
def paths(pixels, tmp_path_factory):
    place = tmp_path_factory.mktemp("photographs")
    for i, photo in enumerate(pixels):
        Image.fromarray(photo).save(place / f"photo {i}.png")
    return sorted(place.glob("*.png"))


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def assert_same(found, expected, rows=slice(None)):
    for name in ("concentration", "bin_probabilities", "offsets"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[rows], rtol=1e-5, atol=1e-5)
    for name in ("bin_index", "status", "reason"):
        assert getattr(found, name).tolist() == getattr(expected, name)[rows].tolist()


@pytest.mark.parametrize(
    "more",
    [[], ["method=direct"], ["backbone=vgg", "backbone.widths=[4,4]"], ["pooling=flatten", "image.color=grayscale"]],
    ids=["two stages", "direct", "vgg", "gray"],
)
def test_a_loaded_model_predicts_the_same(tmp_path, pixels, more):
    more = [*more, "backbone.strides=[2,1]"] if not more else more
    if "backbone=vgg" in more:
        config = load_config(["image.size=32", "bins.count=3", *more])
        network = TwoStage(BINS, build_classifier(config, BINS), build_regressor(config, BINS), config.image.color)
        model = TrainedModel(network.eval(), BINS, config, {})
    else:
        model = build(*more)
    loaded = load_model(write(tmp_path / "model", model), CPU)
    model.network.to(memory_format=torch.channels_last)  # as loading does; other sums would end in other digits
    assert not any(module.training for module in loaded.network.modules())
    for found, known in zip(loaded.network.read(pixels), model.network.read(pixels), strict=True):
        assert np.array_equal(found, known, equal_nan=True)
    assert loaded.bins == model.bins
    assert loaded.config == model.config
    assert loaded.description["n_train"] == 12


def test_the_run_folder_does_as_well_as_the_model_folder(saved, pixels):
    by_run, by_model = load_model(saved.parent, CPU), load_model(str(saved), CPU)
    assert np.array_equal(by_run.network.read(pixels).offsets, by_model.network.read(pixels).offsets)


def test_loading_needs_no_seed_and_leaves_the_random_state_alone(saved):
    state = torch.get_rng_state()
    load_model(saved, CPU)
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_weights_are_equal_bytes(tmp_path, model):
    files = [tmp_path / f"{i}.safetensors" for i in range(4)]
    save_weights(files[0], model.network.regressor)
    save_weights(files[1], build().network.regressor)
    save_weights(files[2], build().network.regressor.to(memory_format=torch.channels_last))
    save_weights(files[3], build("seed=1").network.regressor)
    contents = [file.read_bytes() for file in files]
    assert contents[0] == contents[1] == contents[2] != contents[3]


def test_weights_go_round(tmp_path, model):
    save_weights(tmp_path / "weights.safetensors", model.network.regressor)
    other = build("seed=1").network.regressor
    load_weights(tmp_path / "weights.safetensors", other)
    for key, value in model.network.regressor.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_saving_leaves_nothing_else(saved):
    names = {"model.json", "classifier.safetensors", "regressor.safetensors"}
    assert {file.name for file in saved.iterdir()} == names


def test_a_missing_folder(tmp_path):
    with pytest.raises(ModelFolderError) as error:
        load_model(tmp_path / "nowhere", CPU)
    assert "nowhere: no such run or model folder" in one_line(error)


def test_a_folder_without_a_description(folder):
    (folder / "model.json").unlink()
    for given in (folder, folder.parent):
        with pytest.raises(ModelFolderError) as error:
            load_model(given, CPU)
        assert "model.json" in one_line(error)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"3", b"{}", b'{"format": 3}', b"\xff\xfe", b'{"format": 3, "edges": [80, 350]}'],
)
def test_a_description_that_is_none(folder, content):
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "model.json" in one_line(error)


DAMAGE = {
    "no edges": lambda d: d.update(edges=[]),
    "falling edges": lambda d: d.update(edges=[350, 80]),
    "edges are a word": lambda d: d.update(edges="wide"),
    "edges are null": lambda d: d.update(edges=None),
    "config is null": lambda d: d.update(config=None),
    "config is a list": lambda d: d.update(config=[]),
    "config is empty": lambda d: d.update(config={}),
    "unknown option": lambda d: d["config"].update(surprise=1),
    "no backbone": lambda d: d["config"].pop("backbone"),
    "backbone is a word": lambda d: d["config"].update(backbone="compact"),
    "data is null": lambda d: d["config"].update(data=None),
    "size is a word": lambda d: d["config"]["image"].update(size="wide"),
    "size is too small": lambda d: d["config"]["image"].update(size=7),
    "unknown pooling": lambda d: d["config"].update(pooling="mops"),
    "edges beyond any float": lambda d: d.update(edges=[80, 120, 200, 10**400]),
    "no sha256": lambda d: d.pop("sha256"),
    "sha256 is a word": lambda d: d.update(sha256="classifier.safetensors"),
    "sha256 of one stage": lambda d: d["sha256"].pop("regressor.safetensors"),
    "widths below zero": lambda d: d["config"]["backbone"].update(widths=[4, -6]),
    "intervals are a word": lambda d: d.update(trust={**TRUST, "intervals": {"method": "conformal", "weight": "wide"}}),
    "trust is a word": lambda d: d.update(trust="yes"),
    "trust refuses by another name": lambda d: d.update(trust={**TRUST, "unlike": "shrug"}),
    "photographs unlike nothing": lambda d: d.update(trust={**TRUST, "typicality": {"mean": [1.0]}}),
}


def rewrite(folder, change, **more):
    """Change the description as somebody would who knows how its digest is made."""
    description = json.loads((folder / "model.json").read_text()) | more
    change(description)
    if "digest" in description:
        description["digest"] = description_digest(description)
    (folder / "model.json").write_text(json.dumps(description))


def as_before(description):
    """What the version before wrote: format 3, without a digest."""
    description["format"] = 3
    del description["digest"]


@pytest.mark.parametrize("how", DAMAGE)
def test_a_description_that_makes_no_sense(folder, how):
    rewrite(folder, DAMAGE[how])
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "model.json" in one_line(error)


CHANGES = {
    "doubled edges": lambda d: d.update(edges=[2 * edge for edge in d["edges"]]),
    "reordered strides": lambda d: d["config"]["backbone"].update(dilations=[2, 1]),
    "another colour": lambda d: d["config"]["image"].update(color="srgb"),
    "another size": lambda d: d["config"]["image"].update(size=64),
    "another fit": lambda d: d["config"]["image"].update(fit="pad"),
    "another combination": lambda d: d["config"]["combine"].update(method="argmax"),
    "another unit": lambda d: d["config"]["data"].update(unit="mol/l"),
    "intervals": lambda d: d.update(intervals={"method": "conformal", "half_length": 0.1}),
    "sha256 of other weights": lambda d: d["sha256"].update({"regressor.safetensors": "0" * 64}),
    "no digest": lambda d: d.pop("digest"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_description_that_was_changed_is_not_believed(folder, how):
    description = json.loads((folder / "model.json").read_text())
    CHANGES[how](description)
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "model.json: changed or damaged since it was written" in one_line(error)


def test_a_description_may_be_laid_out_anew(folder, expected, pixels):
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(dict(reversed(description.items()))))
    assert_same(Predictor.load(folder, device="cpu").predict(pixels), expected)


def test_a_folder_of_the_version_before_loads_with_a_warning(folder, pixels, monkeypatch):
    said = []
    monkeypatch.setattr("twostage.model_folder.log.warning", lambda text, *values: said.append(text % values))
    assert load_model(folder, CPU).network.classifier.stretch.abs().max() > 0
    rewrite(folder, as_before)
    predictor = Predictor.load(folder, device="cpu")
    assert (predictor.predict(pixels).status == "ok").all()
    # its classifier had learned from soft targets as wide in every bin, and is read so
    assert predictor.model.network.classifier.stretch.abs().max() == 0
    assert len(said) == 1
    assert "model.json: written by an earlier version, without a digest" in said[0]


@pytest.mark.parametrize("sha256", [None, {}, {"classifier.safetensors": "0" * 64}])
def test_a_folder_of_the_version_before_needs_the_digests_of_its_weights(folder, sha256):
    rewrite(folder, as_before, sha256=sha256)
    with pytest.raises(ModelFolderError):
        load_model(folder, CPU)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${x}", "${", "\\${x}", "a\\", "1e3", "null"])
def test_a_description_is_read_as_data(tmp_path, folder, text):
    rewrite(folder, lambda d: d["config"]["data"].update(unit=text))
    model = load_model(folder, CPU)
    assert model.config.data.unit == text
    again = load_model(write(tmp_path / "again", TrainedModel(model.network, model.bins, model.config, {})), CPU)
    assert again.config.data.unit == text


ABSURD = {
    "deeply nested": "[" * 100_000,
    "deeply nested texts": '{"a":' * 100_000,
    "NaN": '{"format": NaN}',
    "infinite": '{"format": 1e999}',
    "many digits": '{"format": ' + "9" * 10_000 + "}",
    "fewer digits": '{"format": ' + "9" * 4_000 + "}",
    "half a surrogate": '{"format": "\\ud800"}',
}


@pytest.mark.parametrize("how", ABSURD)
def test_an_absurd_description_gets_one_line(folder, how):
    (folder / "model.json").write_text(ABSURD[how])
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "model.json" in one_line(error)


LARGE = {
    "widths": lambda d: d["config"]["backbone"].update(widths=[60_000, 60_000]),
    "edges": lambda d: d.update(edges=list(range(1_000_000))),
    "another backbone": lambda d: d["config"].update(backbone={"name": "vgg", "widths": [50_000] * 3}),
}


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("how", LARGE)
def test_a_network_larger_than_its_weights_is_never_built(folder, how, before, monkeypatch):
    built = []

    def watched(build):
        def call(*of):
            made = build(*of)
            built.append(sum(one.nbytes for one in made.parameters() if one.device.type != "meta"))
            return made

        return call

    for name in ("backbone_of", "build_stage"):
        monkeypatch.setattr(weights, name, watched(getattr(weights, name)))
    rewrite(folder, lambda d: (LARGE[how](d), as_before(d) if before else None))
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "weights of another network" in one_line(error)
    assert max(built) <= (folder / "classifier.safetensors").stat().st_size


@pytest.mark.parametrize("number", [0, FORMAT + 2, "1", None, True, 3.5, float(FORMAT)])
def test_another_format(folder, number):
    description = json.loads((folder / "model.json").read_text()) | {"format": number}
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert f"format {number}" in one_line(error)
    assert "reads 3 to 7" in str(error.value)


def test_intervals_of_the_format_before_are_said_to_change(folder, caplog):
    rewrite(folder, lambda description: description.update(format=6, trust=Trust().to_json()))
    load_model(folder, CPU)
    assert "intervals may be longer or shorter" in caplog.text


@pytest.mark.parametrize("stage", ["classifier", "regressor"])
def test_missing_weights(folder, stage):
    (folder / f"{stage}.safetensors").unlink()
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert f"{stage}.safetensors: no such weights" in one_line(error)


@pytest.mark.parametrize("stage", ["classifier", "regressor"])
@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(folder, stage, keep):
    file = folder / f"{stage}.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert f"{stage}.safetensors: damaged weights" in one_line(error)


def test_a_flipped_bit_in_the_weights_is_noticed(folder):
    file = folder / "regressor.safetensors"
    content = bytearray(file.read_bytes())
    content[-7] ^= 4
    file.write_bytes(content)
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "regressor.safetensors: damaged weights" in one_line(error)
    assert "delete this file" in str(error.value)


def test_a_pickle_is_no_weights(folder):
    torch.save({"weights": torch.zeros(3)}, folder / "regressor.safetensors")
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "damaged weights" in one_line(error)


def test_weights_of_another_network(folder):
    save_weights(folder / "regressor.safetensors", build("backbone.widths=[5,6]").network.regressor)
    with pytest.raises(ModelFolderError) as error:
        load_model(folder, CPU)
    assert "regressor.safetensors: weights of another network" in one_line(error)
    shutil.copy(folder / "classifier.safetensors", folder / "regressor.safetensors")
    with pytest.raises(ModelFolderError, match="weights of another network"):
        load_model(folder, CPU)


def test_a_device_that_is_not_there(saved):
    with pytest.raises(DeviceError, match="cuda:9"):
        Predictor.load(saved, device="cuda:9")


SOURCES = sorted((Path(__file__).resolve().parents[1] / "twostage").rglob("*.py"))


def unsafe(source):
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        if {name.split(".")[0] for name in names} & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}:
            yield f"line {node.lineno}: {names}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called == "torch.load" and options.get("weights_only") != "True":
                yield f"line {node.lineno}: torch.load without weights_only=True"
            if node.func.attr in ("read_pickle", "to_pickle") or options.get("allow_pickle", "False") != "False":
                yield f"line {node.lineno}: {called}"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_pickle(file):
    assert list(unsafe(file.read_text())) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "def f():\n    from joblib import load", "torch.load(p)", "np.load(p, allow_pickle=True)"],
)
def test_the_search_for_pickle_finds_it(source):
    assert len(list(unsafe(source))) == 1


def test_predictions_are_plain_arrays(expected):
    assert len(expected) == 5
    assert expected.concentration.dtype == np.float64
    assert expected.concentration.shape == expected.lower.shape == expected.upper.shape == (5,)
    assert expected.bin_probabilities.shape == expected.offsets.shape == (5, 3)
    assert np.isfinite(expected.concentration).all()
    assert expected.bin_index.dtype == np.int64
    assert expected.bin_index.tolist() == expected.bin_probabilities.argmax(1).tolist()
    assert len(set(expected.concentration.round(6))) == 5


def test_paths_pictures_and_arrays_are_read_alike(predictor, paths, pixels, expected):
    assert_same(predictor.predict(paths), expected)
    assert_same(predictor.predict([str(path) for path in paths]), expected)
    assert_same(predictor.predict([Image.fromarray(photo) for photo in pixels]), expected)
    assert_same(predictor.predict([paths[0], Image.fromarray(pixels[1]), str(paths[2])]), expected, slice(3))


def test_order_is_that_of_the_input(predictor, paths, expected):
    order = [3, 0, 4, 4, 1]
    assert_same(predictor.predict([paths[i] for i in order]), expected, order)


def test_arrays_of_other_sizes_are_cropped_and_averaged(tmp_path, pixels):
    predictor = Predictor.load(write(tmp_path, build("image.fit=crop")), device="cpu")
    expected, doubled = predictor.predict(pixels), pixels.repeat(2, 1).repeat(2, 2)
    assert_same(predictor.predict(doubled), expected)
    wide = np.pad(doubled, ((0, 0), (0, 0), (20, 20), (0, 0)), constant_values=255)
    assert_same(predictor.predict(wide), expected)


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
def test_a_turned_photograph_that_is_not_square_has_the_same_reading(tmp_path, fit):
    predictor = Predictor.load(write(tmp_path, build(f"image.fit={fit}")), device="cpu")
    wide = np.random.default_rng(2).integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    expected = predictor.predict(wide)
    for views in (np.rot90(wide, 1, (1, 2)), np.rot90(wide, 2, (1, 2)), wide.swapaxes(1, 2), wide[:, :, ::-1]):
        assert_same(predictor.predict(views), expected)


@pytest.mark.parametrize("size", [32, 48])
def test_gray_arrays_are_read_as_gray_photographs(predictor, size):
    gray = np.random.default_rng(1).integers(0, 256, (3, size, size, 1), dtype=np.uint8)
    assert_same(predictor.predict(gray), predictor.predict(gray.repeat(3, 3)))


@pytest.mark.parametrize("factor", [1, 2])
def test_transparency_is_laid_on_white(predictor, pixels, expected, factor):
    opaque = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], 3).repeat(factor, 1).repeat(factor, 2)
    assert_same(predictor.predict(opaque), expected)
    half = opaque.copy()
    half[:, : half.shape[1] // 2, :, 3] = 0
    white = np.where(half[..., 3:] == 0, np.uint8(255), half[..., :3])
    assert_same(predictor.predict(half), predictor.predict(white))
    unused = opaque.copy()
    unused[..., 3] = 0  # nothing at all is visible: that was never meant
    assert_same(predictor.predict(unused), expected)


def test_arrays_that_are_views(predictor, pixels, expected):
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    assert_same(predictor.predict(bgr[..., ::-1]), expected)  # as after cv2.imread
    fixed = pixels.copy()
    fixed.setflags(write=False)
    assert_same(predictor.predict(fixed), expected)


@pytest.mark.parametrize("kind", ["paths", "pictures", "array"])
def test_boxes_are_read_as_the_photographs_that_they_show(predictor, paths, pixels, expected, tmp_path, kind):
    plates = [np.concatenate(list(pixels[:3]), axis=1), np.concatenate([pixels[3], pixels[4], pixels[4]], axis=0)]
    boxes = np.array([[0, 64, 32, 32], [0, 0, 32, 32], [32, 0, 32, 32], [0, 32, 32, 32], [64, 0, 32, 32]])
    of, order = [1, 0, 0, 1, 0], [4, 0, 1, 4, 2]
    if kind == "paths":
        for k, plate in enumerate(plates):
            Image.fromarray(plate).save(tmp_path / f"{k}.png")
        images = [tmp_path / f"{k}.png" for k in of]
    elif kind == "pictures":
        pictures = [Image.fromarray(plate) for plate in plates]
        images = [pictures[k] for k in of]
    else:
        images, boxes, order = np.stack([plates[0]] * 3), boxes[[1, 2, 4]], [0, 1, 2]
    assert_same(predictor.predict(images, boxes), expected, order)
    turned = predictor.predict(images, np.column_stack([boxes, np.full(len(boxes), 90)]))
    np.testing.assert_allclose(turned.concentration, expected.concentration[order], rtol=1e-3)
    assert len(predictor.predict(images[:0], boxes[:0])) == 0
    outside = predictor.predict(images, np.add(boxes, [0, 90, 0, 0]))
    assert (outside.status == "refused").all()
    assert "does not lie in the photograph" in outside.reason[0]
    with pytest.raises(ConfigError, match="boxes: give each box its photograph"):
        predictor.predict(images, boxes[1:])
    with pytest.raises(ConfigError, match=r"boxes must be numbers \(N,4\)"):
        predictor.predict(images, boxes[:, :3])


def test_nothing_to_predict(predictor):
    for nothing in ([], (), np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 50, 40, 1), np.uint8)):
        prediction = predictor.predict(nothing)
        assert len(prediction) == 0
        assert prediction.bin_probabilities.shape == (0, 3)
        assert list(prediction.to_frame().columns) == COLUMNS.split(",")


def truncated(paths, place):
    file = place / "truncated.png"
    file.write_bytes(paths[1].read_bytes()[:-500])
    return file


def text(paths, place):
    file = place / "text.png"
    file.write_text("no photograph")
    return file


BROKEN = {
    "truncated": truncated,
    "text": text,
    "missing": lambda paths, place: place / "missing.png",
    "folder": lambda paths, place: place,
    "truncated picture": lambda paths, place: Image.open(truncated(paths, place)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_photograph_is_refused_and_the_others_are_read(predictor, paths, expected, tmp_path, how):
    broken = BROKEN[how](paths, tmp_path)
    prediction = predictor.predict([paths[0], broken, paths[2], paths[3]])
    assert prediction.status.tolist() == ["refused" if i == 1 else expected.status[i] for i in range(4)]
    np.testing.assert_allclose(prediction.concentration[[0, 2, 3]], expected.concentration[[0, 2, 3]], rtol=1e-6)
    for name in ("concentration", "lower", "upper", "bin_probabilities", "offsets"):
        assert np.isnan(getattr(prediction, name)[1]).all(), name
    assert prediction.bin_index[1] == -1
    assert prediction.reason[1]
    assert "\n" not in prediction.reason[1]
    if isinstance(broken, Path):
        assert str(broken) in prediction.reason[1]
    row = prediction.to_frame().iloc[1]
    assert row[["concentration", "bin_index", "bin_low", "bin_high", "bin_probability"]].isna().all()
    assert row["status"] == "refused"


def test_nothing_but_broken_photographs(predictor, tmp_path):
    prediction = predictor.predict([tmp_path / "a.png", tmp_path / "b.png"])
    assert prediction.status.tolist() == ["refused"] * 2
    assert [path in reason for path, reason in zip(["a.png", "b.png"], prediction.reason, strict=True)] == [True] * 2


def test_the_table_of_a_prediction(predictor, expected):
    frame = expected.to_frame()
    assert ",".join(frame.columns) == COLUMNS
    assert frame["image"].tolist() == ["0", "1", "2", "3", "4"]
    assert str(frame["bin_index"].dtype) == "Int64"
    index = expected.bin_index
    np.testing.assert_array_equal(frame["concentration"], expected.concentration)
    np.testing.assert_array_equal(frame["bin_low"], BINS.edges[index])
    np.testing.assert_array_equal(frame["bin_high"], BINS.edges[index + 1])
    np.testing.assert_array_equal(frame["bin_probability"], expected.bin_probabilities.max(1))
    assert frame["status"].tolist() == expected.status.tolist()
    assert expected.to_frame(list("abcde"))["image"].tolist() == list("abcde")


def reading(probabilities, offsets):
    return Reading(probabilities, offsets, np.zeros_like(offsets))


def certain(concentrations, bins=BINS, failed=None):
    """Predictions at these concentrations, by a classifier that is certain of the bin."""
    values = np.array(concentrations, np.float64)
    offsets = (values[:, None] - bins.center) / bins.half_width
    return predict(
        bins,
        np.zeros((len(values), 0)),
        reading(np.eye(bins.count)[bins.index(values)], offsets),
        "mixture",
        failed=failed,
    )


def test_far_beyond_the_range_is_out_of_range():
    low, high = 80 - BEYOND * 40, 350 + BEYOND * 150  # widths of the first and of the last bin
    values = [low - 0.1, low + 0.1, 80, 215, 350, high - 0.1, high + 0.1, 1e6]
    prediction = certain(values)
    outside = [True, False, False, False, False, False, True, True]
    assert (prediction.status == "out_of_range").tolist() == outside
    assert (prediction.status == "ok").tolist() == [not far for far in outside]
    assert ["80..350" in reason for reason in prediction.reason] == outside
    assert [reason == "" for reason in prediction.reason] == [not far for far in outside]
    np.testing.assert_allclose(prediction.concentration, values)  # flagged, never clipped


def test_refused_wins_over_out_of_range():
    prediction = certain([1e6, 100], failed={0: "no such photograph"})
    assert prediction.status.tolist() == ["refused", "ok"]
    assert prediction.reason.tolist() == ["no such photograph", ""]
    assert np.isnan(prediction.concentration).tolist() == [True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_is_not_ok(bad):
    offsets = np.zeros((2, 3))
    offsets[1, 0] = bad
    prediction = predict(BINS, np.zeros((2, 0)), reading(np.eye(3)[[1, 0]], offsets), "mixture")
    assert prediction.status[0] == "ok"
    assert prediction.status[1] != "ok"
    assert prediction.reason[1]


def test_an_out_of_range_photograph_of_a_model(folder, paths):
    model = build()
    with torch.no_grad():
        model.network.regressor.network.readout.bias[0] += 40
    write(folder, model)
    prediction = Predictor.load(folder, device="cpu").predict(paths[:2])
    assert prediction.status.tolist() == ["out_of_range"] * 2
    assert (prediction.concentration > 350).all()


@pytest.mark.parametrize(
    "single",
    ["photo.png", np.str_("photo.png"), Path("photo.png"), Image.new("RGB", (32, 32)), b"", io.BytesIO(), bytearray()],
)
def test_one_photograph_is_not_a_list(predictor, single):
    with pytest.raises(ConfigError) as error:
        predictor.predict(single)
    assert "[photograph]" in one_line(error)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 32, 32, 3), np.float64),
        np.zeros((2, 32, 32, 3), np.int64),
        np.zeros((2, 32, 32, 3), bool),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((2, 32, 32), np.uint8),
        np.zeros((2, 32, 32, 2), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.array([["photo.png"]]),
        np.array("photo.png"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_other_arrays_are_refused(predictor, array):
    with pytest.raises(ConfigError) as error:
        predictor.predict(array)
    assert "uint8 (N,H,W,C)" in one_line(error)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([np.zeros((32, 32, 3), np.float32)], "photograph 0 (counted from 0) is ndarray float32 (32, 32, 3)"),
        ([np.zeros((32, 32, 2), np.uint8)], "uint8 (32, 32, 2)"),
        (["a.png", None], "photograph 1 (counted from 0) is NoneType"),
        (pd.Series(["a.png", float("nan")]), "photograph 1 (counted from 0) is float nan"),
        ((path for path in ["a.png", 3]), "is int 3"),
        (pd.DataFrame({"image": ["a.png"]}), "DataFrame is a table: give its column"),
        ({"a.png", "b.png"}, "set is without an order"),
        ({"a.png": 1}, "dict is without an order"),
        (5, "not int"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_photograph_is_refused(predictor, given, words):
    with pytest.raises(ConfigError) as error:
        predictor.predict(given)
    assert words in one_line(error)


def test_a_wrong_element_of_a_list_is_told_before_any_is_read(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(ConfigError, match="photograph 300 "):
        predictor.predict([*["a.png"] * 300, 7])


COLLECTIONS = {
    "tuple": tuple,
    "generator": lambda paths: (path for path in paths),
    "Series": lambda paths: pd.Series([str(path) for path in paths], index=[9, 8, 7, 6, 5]),
    "Index": lambda paths: pd.Index([str(path) for path in paths]),
    "array of texts": lambda paths: np.array([str(path) for path in paths]),
    "array of paths": lambda paths: np.array(paths, object),
    "dict's values": lambda paths: dict(enumerate(paths)).values(),
    "bytes": lambda paths: [path.read_bytes() for path in paths],
    "bytearrays": lambda paths: [bytearray(path.read_bytes()) for path in paths],
    "memoryviews": lambda paths: [memoryview(path.read_bytes()) for path in paths],
    "open files": lambda paths: [path.open("rb") for path in paths],
    "files in memory": lambda paths: [io.BytesIO(path.read_bytes()) for path in paths],
    "a mixture": lambda paths: [np.str_(paths[0]), paths[1].read_bytes(), *paths[2:]],
}


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_any_collection_of_any_photographs_is_read_alike(predictor, paths, expected, kind):
    given = COLLECTIONS[kind](paths)
    assert_same(predictor.predict(given), expected)
    if kind != "generator":
        assert_same(predictor.predict(given), expected)  # what was open stays as it was


def test_arrays_of_different_sizes_in_a_list(predictor, pixels, expected):
    given = [pixels[0], pixels[1].repeat(2, 0).repeat(2, 1), np.dstack([pixels[2], np.full((32, 32), 255, np.uint8)])]
    assert_same(predictor.predict(given), expected, slice(3))


def test_a_file_that_was_written_to_its_end_and_one_that_is_open_as_text(predictor, paths, pixels, expected):
    buffer = io.BytesIO()
    Image.fromarray(pixels[0]).save(buffer, "PNG")
    assert_same(predictor.predict([buffer]), expected, slice(1))
    with paths[0].open(encoding="latin-1") as text:
        prediction = predictor.predict([text])
    assert "open as text" in prediction.reason[0]


def test_of_a_generator_no_more_are_taken_than_are_read_at_a_time(predictor, paths, monkeypatch):
    taken, seen = [], []
    monkeypatch.setattr("twostage.predictor.CHUNK", 2)
    whole = predictor.read
    monkeypatch.setattr(predictor, "read", lambda *given: seen.append(len(taken)) or whole(*given))
    threads = torch.get_num_threads()
    count = len(predictor.predict(taken.append(path) or path for path in list(paths) * (threads + 3)))
    assert seen[0] <= 2 * (threads + 1) < count  # two for each thread, and two ahead


def test_photographs_without_pixels_give_no_number(predictor):
    try:
        prediction = predictor.predict(np.zeros((2, 0, 32, 3), np.uint8))
    except ConfigError:
        return
    assert prediction.status.tolist() == ["refused"] * 2


def test_the_unit_is_that_of_training(tmp_path):
    model = build("data.unit=mg/l")
    assert Predictor.load(write(tmp_path, model), device="cpu").unit == "mg/l"


def test_views_and_combination_are_those_of_training(tmp_path, pixels, expected):
    one_view = Predictor.load(write(tmp_path / "one", build("combine.views=1")), device="cpu").predict(pixels)
    assert np.abs(one_view.offsets - expected.offsets).max() > 1e-6
    likeliest = Predictor.load(write(tmp_path / "likeliest", build("combine.method=argmax")), device="cpu")
    rows = np.arange(5)
    np.testing.assert_allclose(
        likeliest.predict(pixels).concentration,
        BINS.concentration(expected.bin_index, expected.offsets[rows, expected.bin_index]),
    )

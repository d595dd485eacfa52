"""Model folders that are damaged or made to harm: each kind is refused by name, in one line, and runs nothing."""

import hashlib
import json
import os
import pickle
import shutil
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from twostage import Bins, load_config
from twostage.errors import ModelFolderError
from twostage.model_folder import description_digest, load_model, save_description
from twostage.stages.build import build_stage
from twostage.stages.weights import save_weights

CPU = torch.device("cpu")
TINY = ("image.size=32", "bins.count=3", "backbone.widths=[4,6]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]")
BINS = Bins([80, 120, 200, 350])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "model"
    config = load_config([*TINY, "run=x"])
    for name in ("classifier", "regressor"):
        save_weights(folder / f"{name}.safetensors", build_stage(name, config, BINS))
    save_description(folder, config, BINS)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "model"))


class Harm:
    """What runs code where somebody unpickles it."""

    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


def signed(folder, change):
    """Change the description as somebody would who makes its digests anew."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    for file in folder.glob("*.safetensors"):
        if file.is_file() and file.stat().st_size < 10**6:
            description["sha256"][file.name] = sha256(file)
    change(description)
    description["digest"] = description_digest(description)
    path.write_text(json.dumps(description))


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def of_config(*keys, value):
    """A change of one option of the description."""

    def change(folder):
        def set_it(description):
            node = description["config"]
            for key in keys[:-1]:
                node = node[key]
            node[keys[-1]] = value

        signed(folder, set_it)

    return change


def of_description(**values):
    return lambda folder: signed(folder, lambda description: description.update(values))


def of_weights(stage, change):
    """Other tensors in the file of a stage, with the right digests."""

    def apply(folder):
        path = folder / f"{stage}.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        signed(folder, lambda description: None)

    return apply


def content(name, make):
    return lambda folder: (folder / name).write_bytes(make(folder))


def in_place_of(name, make):
    """Something else than a file under the name of one."""

    def apply(folder):
        (folder / name).unlink()
        make(folder / name)

    return apply


def zipped(folder):
    torch.save({"weights": torch.zeros(3)}, folder / "x")
    found = (folder / "x").read_bytes()
    assert zipfile.is_zipfile(folder / "x")
    return found


def header(text, size=0):
    """A file of safetensors with such a header."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)


def twice(folder):
    """A second value for a key that is there; readers disagree which one counts."""
    text = (folder / "model.json").read_text()
    assert text.lstrip().startswith("{")
    (folder / "model.json").write_text('{"edges": [0, 1, 2, 3], ' + text.lstrip()[1:])


def twice_inside(folder):
    text = (folder / "model.json").read_text()
    at = text.index("{", text.index('"image"'))
    (folder / "model.json").write_text(text[: at + 1] + '"size": 64, ' + text[at + 1 :])


def swapped(folder):
    one, other = folder / "classifier.safetensors", folder / "regressor.safetensors"
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def cut(name, keep):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def filled(name, value):
    return lambda tensors: tensors[name].fill_(value)


READOUT = "network.readout.weight"
JSON, ONE, TWO = "model.json", "classifier.safetensors", "regressor.safetensors"
KINDS = {  # name -> (what is done to the folder, the file that the line names)
    "a pickle in place of weights": (content(TWO, lambda _: pickle.dumps(Harm())), TWO),
    "torch.save in place of weights": (content(TWO, zipped), TWO),
    "a pickle named model.json": (content(JSON, lambda _: pickle.dumps(Harm())), JSON),
    "torch.save named model.json": (content(JSON, zipped), JSON),
    "no description": (lambda folder: (folder / JSON).unlink(), JSON),
    "no weights": (lambda folder: (folder / ONE).unlink(), ONE),
    "an empty description": (content(JSON, lambda _: b""), JSON),
    "half a description": (cut(JSON, 500), JSON),
    "half the weights": (cut(TWO, 500), TWO),
    "empty weights": (cut(TWO, 0), TWO),
    "UTF-16": (content(JSON, lambda folder: (folder / JSON).read_text().encode("utf-16")), JSON),
    "not UTF-8": (content(JSON, lambda folder: (folder / JSON).read_bytes().replace(b'"image"', b'"im\xe9ge"')), JSON),
    "NUL bytes": (content(JSON, lambda folder: (folder / JSON).read_bytes().replace(b" ", b"\0")), JSON),
    "a description of 65 MB": (lambda folder: sparse(folder / JSON, 65 << 20), JSON),
    "a description of a terabyte": (lambda folder: sparse(folder / JSON, 1 << 40), JSON),
    "nested without end": (content(JSON, lambda _: b'{"format":' + b"[" * 10**6), JSON),
    "a key twice": (twice, JSON),
    "a key twice, further in": (twice_inside, JSON),
    "a version to come": (of_description(format=99), JSON),
    "a version that is true": (of_description(format=True), JSON),
    "a version in quotes": (of_description(format="6"), JSON),
    "a version without end": (of_description(format=1e300), JSON),
    "an edited description": (
        content(JSON, lambda folder: (folder / JSON).read_bytes().replace(b"350", b"700")),
        JSON,
    ),
    "edges that fall": (of_description(edges=[350, 200, 120, 80]), JSON),
    "edges that are equal": (of_description(edges=[80, 120, 120, 350]), JSON),
    "one edge": (of_description(edges=[80]), JSON),
    "edges that are texts": (of_description(edges=["80", "120", "200", "350"]), JSON),
    "edges that are true and false": (of_description(edges=[False, True]), JSON),
    "edges in edges": (of_description(edges=[[80, 120, 200, 350]]), JSON),
    "edges beyond what networks count with": (of_description(edges=[-1e308, 0, 1, 1e308]), JSON),
    "an edge of NaN": (
        content(JSON, lambda folder: (folder / JSON).read_bytes().replace(b"350", b"NaN")),
        JSON,
    ),
    "edges of another network": (of_description(edges=[80, 350]), ".safetensors"),
    "a size of 1e308": (of_config("image", "size", value=1e308), JSON),
    "a size of 10^9": (of_config("image", "size", value=10**9), JSON),
    "10^9 bins": (of_config("bins", "count", value=10**9), JSON),
    "10^9 views": (of_config("combine", "views", value=10**9), JSON),
    "an option too many": (of_config("surprise", value="exec"), JSON),
    "an option that is a list": (of_config("image", value=[]), JSON),
    "a backbone by its path": (of_config("backbone", value={"name": "local-dir:/tmp/x", "pretrained": True}), JSON),
    "a backbone of a module": (of_config("backbone", value={"_target_": "os.system", "command": "true"}), JSON),
    "a source that is a module": (of_config("data", "kind", value="os"), JSON),
    "no digests of weights": (of_description(sha256={}), JSON),
    "digests that are none": (of_description(sha256={ONE: 7, TWO: None}), JSON),
    "weights elsewhere": (of_description(sha256={"../../../etc/passwd": "0" * 64}), JSON),
    "edited weights": (
        content(TWO, lambda folder: (folder / TWO).read_bytes()[:-1] + b"\x7f"),
        TWO,
    ),
    "weights of the other stage": (swapped, ".safetensors"),
    "weights of the other stage, signed": (
        lambda folder: (swapped(folder), signed(folder, lambda description: None)),
        ".safetensors",
    ),
    "a tensor too many": (of_weights("regressor", lambda t: t.update(more=torch.zeros(2))), TWO),
    "a tensor too few": (of_weights("regressor", lambda t: t.pop(READOUT)), TWO),
    "a tensor of another shape": (of_weights("regressor", lambda t: t.update({READOUT: t[READOUT][:, :-1]})), TWO),
    "weights that are NaN": (of_weights("regressor", filled(READOUT, np.nan)), TWO),
    "weights without end": (of_weights("classifier", filled(READOUT, np.inf)), ONE),
    "weights that are complex": (
        of_weights("regressor", lambda t: t.update({READOUT: t[READOUT].to(torch.complex64)})),
        TWO,
    ),
    "weights that are whole numbers": (
        of_weights("regressor", lambda t: t.update({READOUT: t[READOUT].to(torch.int64)})),
        TWO,
    ),
    "a header of 2^63 bytes": (content(TWO, lambda _: struct.pack("<Q", 1 << 63) + bytes(99)), TWO),
    "a header longer than the file": (content(TWO, lambda _: struct.pack("<Q", 10**8) + bytes(99)), TWO),
    "a header that is no JSON": (content(TWO, lambda _: header(b"{" * 99)), TWO),
    "a header nested without end": (content(TWO, lambda _: header(b'{"a":' * 10**5)), TWO),
    "a tensor longer than the file": (
        content(TWO, lambda _: header({READOUT: {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}})),
        TWO,
    ),
    "tensors on one another": (
        content(
            TWO,
            lambda _: header({k: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for k in ("a", "b")}, 8),
        ),
        TWO,
    ),
    "a size that overflows": (
        content(TWO, lambda _: header({READOUT: {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 8]}}, 8)),
        TWO,
    ),
    "a folder in place of the description": (in_place_of(JSON, Path.mkdir), JSON),
    "a folder in place of weights": (in_place_of(ONE, Path.mkdir), ONE),
    "a pipe in place of the description": (in_place_of(JSON, os.mkfifo), JSON),
    "a pipe in place of weights": (in_place_of(ONE, os.mkfifo), ONE),
    "a device in place of weights": (in_place_of(ONE, lambda path: path.symlink_to("/dev/zero")), ONE),
    "a device in place of the description": (in_place_of(JSON, lambda path: path.symlink_to("/dev/zero")), JSON),
    "a link to nowhere": (in_place_of(ONE, lambda path: path.symlink_to("nowhere")), ONE),
    "a link to itself": (in_place_of(JSON, lambda path: path.symlink_to(JSON)), JSON),
    "a link to another file": (in_place_of(ONE, lambda path: path.symlink_to("/etc/passwd")), ONE),
}


def test_the_folder_itself_is_sound(folder):
    load_model(folder, CPU)
    signed(folder, lambda description: None)
    load_model(folder, CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_folder_is_refused_by_name_and_runs_nothing(folder, kind, monkeypatch, capfd):
    monkeypatch.chdir(folder.parent)
    harm, named = KINDS[kind]
    harm(folder)
    begin = time.perf_counter()
    with pytest.raises(ModelFolderError) as caught:
        load_model(folder, CPU)
    assert time.perf_counter() - begin < 5
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert named in message
    assert not Path("harmed").exists()
    assert capfd.readouterr().err == ""


def test_a_link_to_the_right_weights_is_as_good_as_they(folder, tmp_path):
    """What counts is what is in them: folders of several models may share files."""
    (folder / ONE).rename(tmp_path / "elsewhere")
    (folder / ONE).symlink_to(tmp_path / "elsewhere")
    load_model(folder, CPU)


def test_other_files_beside_a_model_are_never_opened(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / "classifier.pt").write_bytes(pickle.dumps(Harm()))
    (folder / "modeling.py").write_text("raise SystemExit")
    os.mkfifo(folder / "pipe")
    load_model(folder, CPU)
    assert not Path("harmed").exists()

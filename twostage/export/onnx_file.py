"""One ONNX file of a trained model: photographs brought to size in, all that a prediction says out.

torch records one member's stages as a function of its weights; every other member with the same parts is the same graph
with other weights. What is concluded from all members is a graph of its own, and onnx joins them.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twostage import __version__
from twostage.errors import ExportError, some
from twostage.export.card import card
from twostage.export.graph import OUTPUTS, Conclusion, Member
from twostage.export.recording import OPSET, Joined, Known, record, weights_of
from twostage.export.views import Near, Said, turns_of
from twostage.model_folder import TrainedModel

__all__ = ["INPUT", "needed", "to_onnx"]

INPUT = "photographs"
IR = 8
"""The version of the format that came with these operators."""
MOST_BYTES = 2**31 - 2**20
"""A file of ONNX's format cannot be longer."""


def needed() -> None:
    """See that the packages are there.

    Raises:
        ExportError: One is missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ExportError(f"export needs {some(missing)}: pip install 'twostage[export]'")


def to_onnx(model: TrainedModel) -> bytes:
    """The model as an ONNX file, with its card in its metadata under "twostage".

    Input `photographs` uint8 (N,S,S,3), N free; outputs as `OUTPUTS`: float32 (N,), (N,K) and (N,M,h,w), and int32 for
    `status` and `reason`. It is not compared with the predictor here: `proof.prove` does that.

    Raises:
        ExportError: A package of the extra is missing, an operator of the network has no counterpart in ONNX, or the
            file would be longer than the format allows.
    """
    needed()
    from onnx import TensorProto, checker, helper

    size, bins, joined = model.config.image.size, model.bins.count, Joined()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8))
    members = [Member(member, model.config.views).eval() for member in model.members]
    with torch.no_grad():
        first = members[0](pixels)
    said = _add_members(joined, members, pixels, first, turns_of(model.bins))
    given = {INPUT: pixels, **{name: first[name] for name in Said._fields}}
    conclusion = Conclusion(model).eval()
    known: Known = {INPUT: INPUT, **{name: said[name] for name in Said._fields}, **weights_of(conclusion)}
    found = joined.add(record(conclusion, given, OUTPUTS[:-1]), "conclusion/", known)
    found |= {"masks": said["masks"]} if "masks" in said else {}
    shapes: dict[str, list[Any]] = {"bin_probabilities": ["N", bins]}
    if "masks" in found:
        shapes["masks"] = ["N", *first["masks"].shape[1:]]
    values = []
    for name, inside in found.items():
        joined.rename(inside, name)
        kind = TensorProto.INT32 if name in ("status", "reason") else TensorProto.FLOAT
        values.append(helper.make_tensor_value_info(name, kind, shapes.get(name, ["N"])))
    photographs = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", size, size, 3])
    graph = helper.make_graph(joined.nodes, "twostage", [photographs], values, list(joined.constants.values()))
    whole = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="twostage",
        producer_version=__version__,
    )
    helper.set_model_props(whole, {"twostage": json.dumps(card(model), allow_nan=False)})
    if whole.ByteSize() > MOST_BYTES:
        raise ExportError(f"a file of {whole.ByteSize() / 2**30:.2g} GB cannot be written: ONNX allows 2")
    checker.check_model(whole)
    return bytes(whole.SerializeToString())


def _add_members(
    joined: Joined, members: list[Member], pixels: Tensor, first: dict[str, Tensor], turns: dict[str, Tensor]
) -> dict[str, str]:
    """Add what every member says; by what names their means, and the masks of the first, are known then."""
    graphs: dict[Any, Any] = {}
    each = []
    for number, member in enumerate(members):
        if member.kind not in graphs:
            graphs[member.kind] = record(member, {INPUT: pixels}, list(first))
        each.append(joined.add(graphs[member.kind], f"member_{number}/", {INPUT: INPUT, **weights_of(member)}))
    for name, turn in turns.items() if len(each) > 1 else ():
        graph = record(Near(turn), {"said": first[name], "first": first[name].clone()}, ["near"])
        for number, one in enumerate(each[1:], 1):
            known = {"said": one[name], "first": each[0][name]}
            one[name] = joined.add(graph, f"near_{number}/{name}/", known)["near"]
    means = {name: joined.mean([one[name] for one in each], f"mean/{name}") for name in Said._fields}
    return {**each[0], **means}

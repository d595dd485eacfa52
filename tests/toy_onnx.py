"""A model of a few operations that keeps the contract of an exported one: brighter photographs hold more."""

import json

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

EDGES = [80.0, 140.0, 200.0, 260.0, 350.0]
REASONS = ["", 'outside "all" bins, of the model', "nothing to read: the photograph is black"]


def toy_card(size=32, fit="crop", **more):
    return {
        "format": 1,
        "name": "toy",
        "unit": "µg/L",
        "low": EDGES[0],
        "high": EDGES[-1],
        "edges": EDGES,
        "size": size,
        "fit": fit,
        "color": "srgb",
        "statuses": ["ok", "out_of_range", "low_confidence", "unlike", "refused"],
        "reasons": REASONS,
        "confidence": 0.9,
        "minimum": None,
        "limit": "none",
        "distance_threshold": None,
        "version": "0.1.0",
        "digest": "0123",
        "sha256": {},
        "remarks": ["made by hand"],
        "method": "two_stage",
        "backbone": "none",
        "trained": {"n_train": 10},
    } | more


CONSTANTS = {
    "axes": np.array([1, 2, 3]),
    "dark": np.float32(2),
    "slope": np.float32(300 / 255),
    "start": np.float32(80),
    "ten": np.float32(10),
    "none": np.float32(np.nan),
    "column": np.array([-1, 1]),
    "centers": np.add(EDGES[1:], EDGES[:-1]).astype(np.float32) / 2,
    "sharp": np.float32(-1 / 2000),
    "most": np.float32(EDGES[-1]),
    **{f"int{i}": np.int32(i) for i in (0, 1, 2, 4)},
    "one": np.array([1]),
    "two": np.array([2]),
    "three": np.array([3]),
    "flat": np.array([0, -1]),
    "near": np.float32(1 / 20),
}
NODES = [
    "Cast photographs > pixels",
    "ReduceMean pixels axes > mean",
    "Less mean dark > is_dark",
    "Mul mean slope > above",
    "Add above start > number",
    "Greater number most > is_beyond",
    "Where is_dark none number > concentration",
    "Sub concentration ten > lower",
    "Add concentration ten > upper",
    "Reshape concentration column > each",
    "Sub each centers > away",
    "Mul away away > squared",
    "Mul squared sharp > logits",
    "Softmax logits > bin_probabilities",
    "Where is_beyond int1 int0 > status_of_number",
    "Where is_dark int4 status_of_number > status",
    "Where is_beyond int1 int0 > reason_of_number",
    "Where is_dark int2 reason_of_number > reason",
    "Identity mean > distance",
    "Slice pixels one two three > green",
    "Transpose green > plane",
    "AveragePool plane > half",
    "Reshape half flat > row",
    "Mul row near > light",
    "Softmax light > weights",
    "Reshape weights square > masks",
]
ATTRIBUTES = {
    "Cast": {"to": TensorProto.FLOAT},
    "ReduceMean": {"keepdims": 0},
    "Softmax": {"axis": 1},
    "Transpose": {"perm": [0, 3, 1, 2]},
    "AveragePool": {"kernel_shape": [2, 2], "strides": [2, 2]},
}


def toy_onnx(card):
    """The file's bytes."""
    size, float32, int32 = card["size"], TensorProto.FLOAT, TensorProto.INT32
    made = []
    for text in NODES:
        (kind, *inputs), (output,) = (part.split() for part in text.split(" > "))
        made.append(helper.make_node(kind, inputs, [output], **ATTRIBUTES.get(kind, {})))
    constants = CONSTANTS | {"square": np.array([0, 1, size // 2, size // 2])}
    given = [helper.make_tensor_value_info("photographs", TensorProto.UINT8, ["N", size, size, 3])]
    said = [("concentration", float32, []), ("lower", float32, []), ("upper", float32, []), ("distance", float32, [])]
    said += [("status", int32, []), ("reason", int32, []), ("bin_probabilities", float32, [len(EDGES) - 1])]
    said += [("masks", float32, [1, size // 2, size // 2])]
    outputs = [helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, kind, shape in said]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(made, "toy", given, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key="twostage", value=json.dumps(card))
    checker.check_model(model, full_check=True)
    return model.SerializeToString()

"""From a torch module to a graph of ONNX, and several graphs joined into one."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twostage.errors import ExportError

__all__ = ["OPSET", "Joined", "Known", "record", "weights_of"]

Known = Mapping[str, str | np.ndarray]
"""Inputs of a graph by their names: what they are called where it is added, or arrays."""
OPSET = 18
"""Old enough for runtimes of years ago; newer operators are not needed."""
QUIET = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "onnxscript", "onnx_ir")


def record(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Any:
    """What a module computes of inputs (N,...), two or more rows each and any number later, as onnx.GraphProto.

    Its parameters and buffers are inputs of the graph as well, behind these and called as in torch, so that the graph
    fits every module of the same parts.

    Args:
        outputs: Names of what the module gives, a dictionary, in its order.

    Raises:
        ExportError: torch or ONNX has no way to say something that the module does.
    """
    import onnx_ir
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    rows = torch.export.Dim("N")
    with torch.no_grad(), _quiet():
        module(*inputs.values())  # so that what is kept for later calls holds numbers, and no recording
        try:
            shapes = tuple({0: rows} for _ in inputs)
            recorded = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=shapes)
            program = torch.onnx.export(
                recorded,
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # torch raises whatever stands in the way of a recording
            raise ExportError(_cannot(error)) from error
        assert program is not None
        model = program.model
        for name in weights_of(module):
            if (weight := model.graph.initializers.pop(name, None)) is not None:
                weight.const_value = None
                model.graph.inputs.append(weight)
        common.InlinePass()(model)
        fold_constants(model)
        for tidy in (
            common.RemoveUnusedNodesPass(),
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            common.DeduplicateInitializersPass(),
            common.CommonSubexpressionEliminationPass(),
            common.ClearMetadataAndDocStringPass(),  # they name files of this machine
            common.NameFixPass(),
        ):
            tidy(model)
        return onnx_ir.serde.serialize_model(model).graph


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and buffers by all their names: where two parts share one, torch may record it by either."""
    found = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {name: value.detach().numpy() for name, value in found}


def _cannot(error: Exception) -> str:
    """What torch said, without the pages that it says."""
    while error.__cause__ is not None:
        error = error.__cause__  # type: ignore[assignment]
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"this model cannot be exported to ONNX: {reason}"


@dataclass
class Joined:
    """Nodes and constants of several graphs, one after another, with names of their own."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def add(self, graph: Any, prefix: str, known: Known) -> dict[str, str]:
        """Add a graph, whose inputs are values that are there, by their names, or arrays.

        Returns:
            By what names its outputs are known here.
        """
        from onnx import NodeProto, TensorProto, numpy_helper

        names = {"": ""}
        for value in graph.input:
            given = known[value.name]
            names[value.name] = given if isinstance(given, str) else prefix + value.name
            if not isinstance(given, str):
                self.constants[names[value.name]] = numpy_helper.from_array(given, names[value.name])
        for constant in graph.initializer:
            names[constant.name] = prefix + constant.name
            copy = TensorProto()
            copy.CopyFrom(constant)
            copy.name = names[constant.name]
            self.constants[copy.name] = copy
        for node in graph.node:
            copied = NodeProto()
            copied.CopyFrom(node)
            names |= {name: prefix + name for name in node.output if name}
            copied.name = prefix + node.name
            copied.input[:] = [names[name] for name in node.input]
            copied.output[:] = [names[name] for name in node.output]
            self.nodes.append(copied)
        return {value.name: names[value.name] for value in graph.output}

    def mean(self, names: Sequence[str], called: str) -> str:
        """The mean of float64 values."""
        from onnx import helper, numpy_helper

        if len(names) == 1:
            return names[0]
        count = f"{called}/count"
        self.constants[count] = numpy_helper.from_array(np.array(float(len(names))), count)
        self.nodes.append(helper.make_node("Sum", list(names), [f"{called}/sum"], name=f"{called}/sum"))
        self.nodes.append(helper.make_node("Div", [f"{called}/sum", count], [called], name=called))
        return called

    def rename(self, name: str, wanted: str) -> None:
        """Give a value the name that it has outside."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [name], [wanted], name=wanted))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the packages say to those who develop them."""
    levels = {name: logging.getLogger(name).level for name in QUIET}
    try:
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)

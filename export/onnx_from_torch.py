"""Export a module to ONNX (opset 24)."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir
import torch
from onnxscript.values import Opset
from torch import nn

from mulo_sd.export.graphs.transformer import append_slots  # registers the operator

OPSET = 24
# The exporter logs a warning for each operator of torchvision, which is no part of this project.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
_op = Opset("", OPSET)


def _append_slots_onnx(cache, update, write_index):  # type: ignore[no-untyped-def]  # onnxscript infers the types
    return _op.TensorScatter(cache, update, write_index, axis=2)


def forget_origin(model: onnx_ir.Model) -> None:
    """Take out of a graph where and how it was made: stack traces hold the paths of whoever exports it.

    Args:
        model: Mutated.
    """
    functions = list(model.functions.values())
    graphs = [model.graph, *model.graph.subgraphs(), *(item.graph for item in functions)]
    graphs += [graph for item in functions for graph in item.subgraphs()]
    told: list[Any] = [model, *functions, *graphs]
    for graph in graphs:
        values = [*graph.inputs, *graph.outputs, *graph.initializers.values()]
        told += [*values, *(value.const_value for value in graph.initializers.values())]
        for node in graph:
            told += [node, *node.outputs, *node.attributes.values()]
            told += [value.const_value for value in node.outputs]
    for item in told:
        if item is None:
            continue
        if getattr(item, "doc_string", None):
            item.doc_string = None
        getattr(item, "metadata_props", {}).clear()


def onnx_from_torch(
    module: nn.Module,
    inputs: Mapping[str, Any],
    dynamic: Mapping[str, Mapping[int, str]],
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> onnx_ir.Model:
    """Export a module; the model's initialisers are the module's own tensors, not copies.

    Args:
        module: In the precision of the bundle, on the CPU.
        inputs: Example arguments by name of `forward`'s parameters; a list of tensors stays one argument.
        dynamic: For every parameter (a list's members share one entry) its dynamic axes by name.
        input_names: Flat names of the graph's inputs.
        output_names: Flat names of the graph's outputs.
    """
    dims: dict[str, Any] = {}

    def axes(name: str) -> dict[int, Any]:
        return {
            axis: dims.setdefault(label, torch.export.Dim(label, min=1, max=2**20))
            for axis, label in dynamic.get(name, {}).items()
        }

    shapes: dict[str, Any] = {
        name: [axes(name) for _ in value] if isinstance(value, list) else axes(name) for name, value in inputs.items()
    }
    with warnings.catch_warnings():
        # torch's exporter warns of its own deprecated internals; nothing here can act on them.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            args=(),
            kwargs=dict(inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=shapes,
            custom_translation_table={append_slots._opoverload: _append_slots_onnx},
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch exported nothing for {type(module).__name__}")
    forget_origin(program.model)
    return program.model

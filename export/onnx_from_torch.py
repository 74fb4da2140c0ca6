"""Export a graph's module to ONNX (opset 24)."""

import logging
import warnings
from typing import Any

import onnx_ir
import torch
from onnxscript.values import Opset

from mulo_sd.export.exporter_shortcuts import exporter_shortcuts
from mulo_sd.export.graphs.slots import append_slots  # registers the operator
from mulo_sd.export.graphs.specification import GraphSpecification

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
    annotated: list[Any] = [model, *functions, *graphs]
    for graph in graphs:
        values = [*graph.inputs, *graph.outputs, *graph.initializers.values()]
        annotated += [*values, *(value.const_value for value in graph.initializers.values())]
        for node in graph:
            annotated += [node, *node.outputs, *node.attributes.values()]
            annotated += [value.const_value for value in node.outputs]
    for item in annotated:
        if item is None:
            continue
        if getattr(item, "doc_string", None):
            item.doc_string = None
        getattr(item, "metadata_props", {}).clear()


def onnx_from_torch(specification: GraphSpecification) -> onnx_ir.Model:
    """Export a graph's module; the model's initialisers are the module's own tensors, not copies.

    Args:
        specification: Its module is in the precision of the bundle, on the CPU.
    """
    dims: dict[str, Any] = {}

    def axes(name: str) -> dict[int, Any]:
        return {
            axis: dims.setdefault(label, torch.export.Dim(label, min=1, max=2**20))
            for axis, label in specification.dynamic.get(name, {}).items()
        }

    shapes: dict[str, Any] = {
        name: [axes(name) for _ in value] if isinstance(value, list) else axes(name)
        for name, value in specification.example.items()
    }
    with exporter_shortcuts(), warnings.catch_warnings():
        # torch's exporter warns of its own deprecated internals; nothing here can act on them.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            specification.module.eval(),
            args=(),
            kwargs=dict(specification.example),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(specification.input_names),
            output_names=list(specification.output_names),
            dynamic_shapes=shapes,
            custom_translation_table={append_slots._opoverload: _append_slots_onnx},
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch exported nothing for graph {specification.name}")
    forget_origin(program.model)
    return program.model

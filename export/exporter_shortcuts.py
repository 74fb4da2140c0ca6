"""Work that torch's exporter does anew for every graph, and that gives the same each time: two fifths of a build.

torch is pinned to one version, so that what is replaced here is known. The graphs are the same but for nodes that the
exporter's optimiser would take out, and each is compared with the reference (`export.compare`).
"""

import copy
import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.onnx._internal.exporter import _fx_passes
from torch.onnx._internal.exporter._registration import ONNXRegistry
from torch.onnx._internal.fx.passes import type_promotion

_aten = torch.ops.aten
_SAME_OPERATOR = {
    _aten.to.dtype: _aten._to_copy.default,
    _aten.__and__.Tensor: _aten.bitwise_and.Tensor,
    _aten.__or__.Tensor: _aten.bitwise_or.Tensor,
}
# The exporter takes them out before it translates.
_ASSERTIONS = frozenset({_aten._assert_tensor_metadata.default, _aten._assert_scalar.default})

_read_registry_once = functools.cache(ONNXRegistry.from_torchlib)
_decompose_by_tracing = _fx_passes.decompose_with_registry


def _registry(opset_version: int) -> ONNXRegistry:
    """Return torch's translations of operators, to which the caller may add his own.

    Reading them parses the source of all 500.
    """
    registry = copy.copy(_read_registry_once(opset_version=opset_version))
    registry.functions = {target: list(translations) for target, translations in registry.functions.items()}
    return registry


def _has_same_operator(node: fx.Node) -> bool:
    # `to` can take more than a dtype, which the other operator takes in another order.
    return node.target in _SAME_OPERATOR and len(node.args) == 2 and not node.kwargs


def _is_translated(node: fx.Node, registry: ONNXRegistry) -> bool:
    target = node.target
    if node.op != "call_function" or isinstance(target, str):
        return False
    operator = target if isinstance(target, torch._ops.OpOverload) else None
    if operator is not None and operator._schema.is_mutable:
        return False
    is_onnx = operator is not None and operator.namespace == "onnx"
    return is_onnx or target in _ASSERTIONS or registry.is_registered(target) or _has_same_operator(node)


def _decompose(program: ExportedProgram, registry: ONNXRegistry) -> ExportedProgram:
    """Return a program of operators that have a translation; it is traced again only where some have none."""
    calls = [node for node in program.graph.nodes if node.op not in ("placeholder", "output")]
    if not all(_is_translated(node, registry) for node in calls):
        return _decompose_by_tracing(program, registry)
    for node in calls:
        if node.target is _aten.to.dtype:
            tensor, dtype = node.args
            node.args, node.kwargs = (tensor,), {"dtype": dtype}
        node.target = _SAME_OPERATOR.get(node.target, node.target)
    program.graph_module.recompile()
    return program


def _promoted(self: Any, node: fx.Node) -> Any:
    """Promote what a node takes as torch does, and return the value that was recorded of it when it was traced."""
    with self._set_current_node(node):
        rule = type_promotion.get_type_promotion_rule(node, self.type_promotion_table)
        if rule:
            self._maybe_promote_node(node, rule)
    return node.meta["val"] if "val" in node.meta else fx.Interpreter.run_node(self, node)


@contextmanager
def exporter_shortcuts() -> Iterator[None]:
    """Let torch's exporter read its own operators once a process, and trace a graph once."""
    with ExitStack() as stack:
        for target, name, replacement in (
            (ONNXRegistry, "from_torchlib", staticmethod(_registry)),
            (_fx_passes, "decompose_with_registry", _decompose),
            (type_promotion._TypePromotionInterpreter, "run_node", _promoted),
        ):
            stack.enter_context(mock.patch.object(target, name, replacement))
        yield

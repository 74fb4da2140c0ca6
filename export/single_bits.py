"""ONNX graphs for TensorRT, which has no BitwiseAnd: what a query asks for is one bit at most, and division finds it.

`a & b` for a `b` that is 0 or a power of two is `b * (a / b % 2)`, with integers. A slot of all bits is -1, whose
quotient would be rounded to 0; the largest number takes its place.
"""

from collections.abc import Iterator

import numpy as np
import onnx

ALL = np.iinfo(np.int64).max


def without_bitwise_and(model: onnx.ModelProto) -> None:
    """Replace every BitwiseAnd, int64, by operators that TensorRT has.

    Args:
        model: Mutated. The second operand of each holds 0 or one bit of 0..62.
    """
    nodes = list(model.graph.node)
    if not any(node.op_type == "BitwiseAnd" for node in nodes):
        return
    del model.graph.node[:]
    for node in nodes:
        model.graph.node.extend(_divided(node) if node.op_type == "BitwiseAnd" else [node])


def _divided(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield what does the same as a BitwiseAnd."""
    slots, asked = node.input
    prefix = f"{node.name or node.output[0]}_"

    def made(operator: str, *inputs: str, output: str = "") -> onnx.NodeProto:
        name = output or f"{prefix}{operator.lower()}"
        return onnx.helper.make_node(operator, list(inputs), [name], name=f"{prefix}{operator}")

    for name, value in (("zero", 0), ("one", 1), ("two", 2), ("all", ALL)):
        constant = onnx.numpy_helper.from_array(np.array(value, dtype=np.int64), f"{prefix}{name}")
        yield onnx.helper.make_node("Constant", [], [f"{prefix}{name}"], value=constant)
    yield made("Less", slots, f"{prefix}zero")
    yield made("Where", f"{prefix}less", f"{prefix}all", slots)
    yield made("Max", asked, f"{prefix}one")
    yield made("Div", f"{prefix}where", f"{prefix}max")
    yield made("Mod", f"{prefix}div", f"{prefix}two")
    yield made("Mul", f"{prefix}mod", asked, output=node.output[0])

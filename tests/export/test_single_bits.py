"""Graphs for TensorRT say who sees whom without BitwiseAnd."""

import numpy as np
import onnx
import onnxruntime
import pytest

from mulo_sd.export.single_bits import without_bitwise_and

INT64 = onnx.TensorProto.INT64


def model() -> onnx.ModelProto:
    """Return a graph of two of them, one after the other."""
    nodes = [
        onnx.helper.make_node("BitwiseAnd", ["slots", "first"], ["some"], name="one"),
        onnx.helper.make_node("BitwiseAnd", ["some", "second"], ["both"]),
    ]
    values = [onnx.helper.make_tensor_value_info(name, INT64, ["n"]) for name in ("slots", "first", "second")]
    outputs = [onnx.helper.make_tensor_value_info(name, INT64, ["n"]) for name in ("some", "both")]
    graph = onnx.helper.make_graph(nodes, "bits", values, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 24)], ir_version=10)


def test_division_finds_a_bit() -> None:
    """Every bit of 0..62 and none, of slots with any bits, with none and with all."""
    made = model()
    without_bitwise_and(made)
    assert all(node.op_type != "BitwiseAnd" for node in made.graph.node)
    onnx.checker.check_model(made)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(1)
    bits = np.concatenate([np.zeros(1, dtype=np.int64), np.int64(1) << np.arange(63, dtype=np.int64)])
    for slots in (np.zeros_like(bits), np.full_like(bits, -1), *generator.integers(0, 2**63 - 1, (20, len(bits)))):
        other = generator.permutation(bits)
        some, both = session.run(None, {"slots": slots, "first": bits, "second": other})
        np.testing.assert_array_equal(some, slots & bits)
        np.testing.assert_array_equal(both, slots & bits & other)


def test_others_stay_as_they_are() -> None:
    """A graph without any is not touched."""
    made = model()
    for node in made.graph.node:
        node.op_type = "Mul"
    before = made.SerializeToString()
    without_bitwise_and(made)
    assert made.SerializeToString() == before


@pytest.mark.parametrize("graph", ["target_branched", "head"])
def test_tensorrt_takes_them(graph: str, request: pytest.FixtureRequest) -> None:
    """TensorRT for RTX parses and builds what has branches, with the caches updated in place."""
    pytest.importorskip("tensorrt_rtx")
    from mulo_sd.engines.bundle import open_bundle
    from mulo_sd.export.plans import build_plan

    bundle = open_bundle(request.getfixturevalue("minimal_bundle"))
    entry = bundle.manifest.graphs[graph]
    shapes = {item.name: item.shape for item in entry.inputs}
    plan = build_plan("trt-rtx", bundle.file(entry.onnx), shapes, [entry.dynamic], decomposable_attention=True)
    assert len(plan.content) > 100_000

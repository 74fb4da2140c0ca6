"""A bundle so small that tests may copy and break it: two models of one attention layer, 2 x 4 and 1 x 2 cells."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mulo_sd.engines.prompts.prefix import grammar_description
from mulo_sd.engines.settings import Settings

VOCABULARY, DIM, HEADS, HEAD_DIM, PREFIX, FIELDS = 12, 8, 2, 4, 2, 3
CODE_DIM = 4
SLOTS = 13  # three more than the target has positions
GRIDS = {"target": (2, 4), "drafter_1": (1, 2)}
LARGEST_CELLS = 8
SCALERS = ("up_sampler_2_bicubic", "down_sampler_2_area")

# One layer: a toy in everything but the cache, which is written, masked and attended to as in an exported model.
TRANSFORMER = """
<ir_version: 10, opset_import: ["" : 24]>
transformer (
    int64[batch, fed] tokens, float[batch, fed, 8] prefix, int64[batch, fed] positions,
    int64[batch, slots] slot_ranks, int64[batch] write_index,
    CACHE[batch, 2, slots, 4] key_0, CACHE[batch, 2, slots, 4] value_0
) => (float[batch, fed, 12] logits, CACHE[batch, 2, slots, 4] new_key_0, CACHE[batch, 2, slots, 4] new_value_0)
<int64 zero = {0}, int64[1] last = {-1}, int64[2] ranks_axes = {1, 2}, int64[2] positions_axes = {1, 3},
 int64[4] split = {0, 0, 2, 4}, int64[3] join = {0, 0, 8}>
{
    is_prefix = Less(tokens, zero)
    is_prefix_row = Unsqueeze(is_prefix, last)
    known = Max(tokens, zero)
    token_rows = Gather(token_table, known)
    embedded = Where(is_prefix_row, prefix, token_rows)
    place = Gather(position_table, positions)
    x = Add(embedded, place)
    query_flat = MatMul(x, query_weight)
    query_split = Reshape(query_flat, split)
    query_heads = Transpose<perm=[0, 2, 1, 3]>(query_split)
    query = CastLike(query_heads, key_0)
    key_flat = MatMul(x, key_weight)
    key_split = Reshape(key_flat, split)
    key_heads = Transpose<perm=[0, 2, 1, 3]>(key_split)
    key = CastLike(key_heads, key_0)
    value_flat = MatMul(x, value_weight)
    value_split = Reshape(value_flat, split)
    value_heads = Transpose<perm=[0, 2, 1, 3]>(value_split)
    value = CastLike(value_heads, key_0)
    new_key_0 = TensorScatter<axis=2>(key_0, key, write_index)
    new_value_0 = TensorScatter<axis=2>(value_0, value, write_index)
    ranks = Unsqueeze(slot_ranks, ranks_axes)
    own = Unsqueeze(positions, positions_axes)
    visible = LessOrEqual(ranks, own)
    attended_heads = Attention(query, new_key_0, new_value_0, visible)
    attended_typed = Transpose<perm=[0, 2, 1, 3]>(attended_heads)
    attended = CastLike(attended_typed, x)
    joined = Reshape(attended, join)
    logits = MatMul(joined, out_weight)
}
"""
CONDITION = """
<ir_version: 10, opset_import: ["" : 24]>
embed (int64[batch, 2, 3] condition) => (float[batch, 2, 8] prefix) <int64[1] axis = {2}>
{
    rows = Gather(token_table, condition)
    prefix = ReduceSum<keepdims=0>(rows, axis)
}
"""
# Inputs without dimensions, of both types.
SAMPLER = """
<ir_version: 10, opset_import: ["" : 24]>
sampler (float[rows, 12] logits, float temperature, int64 shift) => (int64[rows] tokens, float[rows, 12] scaled)
{
    scaled = Mul(logits, temperature)
    best = ArgMax<axis=1, keepdims=0>(scaled)
    tokens = Add(best, shift)
}
"""
OTHER = """
<ir_version: 10, opset_import: ["" : 24]>
other (int64[rows, 4] tokens) => (int64[rows, 4] same) { same = Identity(tokens) }
"""
DTYPES = {onnx.TensorProto.INT64: "int64", onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16"}


def _model(text: str, cache: str = "float") -> onnx.ModelProto:
    model = onnx.parser.parse_model(text.replace("CACHE", cache))
    generator = np.random.default_rng(5)
    sizes = {
        "token_table": (VOCABULARY, DIM),
        "position_table": (PREFIX + LARGEST_CELLS, DIM),
        "query_weight": (DIM, DIM),
        "key_weight": (DIM, DIM),
        "value_weight": (DIM, DIM),
        "out_weight": (DIM, VOCABULARY),
    }
    used = {name for node in model.graph.node for name in node.input}
    for name, shape in sizes.items():
        values = generator.standard_normal(shape, dtype=np.float32)
        if name in used:
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def _file_entry(folder: Path, path: str, content: bytes) -> dict[str, Any]:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def _tensors(values: Any) -> list[dict[str, Any]]:
    types = [(value.name, value.type.tensor_type) for value in values]
    return [
        {
            "name": name,
            "dtype": DTYPES[tensor.elem_type],
            "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
        }
        for name, tensor in types
    ]


def _graph_entry(folder: Path, name: str, model: onnx.ModelProto) -> dict[str, Any]:
    content = model.SerializeToString()
    # No plan can be made for a toy without TensorRT: it stands in for one by its bytes, which tests interpret.
    plan = _file_entry(folder, f"plans/trt-rtx/{name}.plan", content)
    return {
        "onnx": _file_entry(folder, f"onnx/{name}.onnx", content),
        "plans": [{"backend": "trt-rtx", "file": plan, "build_seconds": 0.0, "version": "0"}],
        "inputs": _tensors(model.graph.input),
        "outputs": _tensors(model.graph.output),
        "dynamic": {"batch": [1, 2, 2], "fed": [1, 1, 10], "rows": [1, 1, 64], "slots": [1, SLOTS, SLOTS]},
        "build_seconds": 0.0,
        "measured_error": 0.0,
        "tolerance": 0.0,
        "error_of": "nothing",
    }


def _transformer_entry(name: str) -> dict[str, Any]:
    height, width = GRIDS[name]
    sizes = {
        "grid_height": height,
        "grid_width": width,
        "vocabulary": VOCABULARY,
        "prefix_length": PREFIX,
        "condition": "fields",
        "condition_width": FIELDS,
        "condition_ids": 100,
        "layers": 1,
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "dim": DIM,
        "slots": SLOTS,
    }
    return {"graph": name, "condition_graph": f"{name}_condition", "weights_sha256": "0" * 64, **sizes}


def _write_bundle(folder: Path, precision: str) -> Path:
    cache = {"fp32": "float", "fp16": "float16"}[precision]
    models = {name: _model(OTHER) for name in (*SCALERS, "decoder", "acceptance")}
    models |= {name: _model(TRANSFORMER, cache) for name in GRIDS}
    models |= {f"{name}_condition": _model(CONDITION) for name in GRIDS}
    models["sampler"] = _model(SAMPLER)
    neighbours: NDArray[np.int64] = np.tile(np.arange(VOCABULARY)[:, None], 3)
    np.save(folder / "neighbours.npy", neighbours)
    np.save(folder / "codes.npy", np.random.default_rng(6).standard_normal((VOCABULARY, CODE_DIM), dtype=np.float32))
    grammar = json.dumps(grammar_description()).encode()
    manifest = {
        "schema_version": 4,
        "family": "demo",
        "name": "tiny",
        "precision": precision,
        "created": "2026-01-01T00:00:00+00:00",
        "tools": {},
        "token_pixels": 4,
        "models": [_transformer_entry(name) for name in GRIDS],
        "tokenizer_sha256": "0" * 64,
        "graphs": {name: _graph_entry(folder, name, model) for name, model in models.items()},
        "codes": _file_entry(folder, "codes.npy", (folder / "codes.npy").read_bytes()),
        "code_dim": CODE_DIM,
        "neighbours": _file_entry(folder, "neighbours.npy", (folder / "neighbours.npy").read_bytes()),
        "max_neighbours": 3,
        "prompt_grammar": _file_entry(folder, "prompt_grammar.json", grammar),
        "settings": Settings().model_dump(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle's folder, in fp32; copy it to change it."""
    return _write_bundle(tmp_path_factory.mktemp("tiny-fp32"), "fp32")


@pytest.fixture(scope="session")
def tiny_fp16_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with keys and values in fp16."""
    return _write_bundle(tmp_path_factory.mktemp("tiny-fp16"), "fp16")

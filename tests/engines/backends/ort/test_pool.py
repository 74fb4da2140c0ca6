"""Rows of a pool in ONNX Runtime."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.engines.backends.caches import cache_tensors
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.rules.slots import DEAD_RANK


def test_rows_of_a_pool_in_onnx_runtime(tiny_bundle: Path) -> None:
    """A pass over four rows of a pool is two passes over two rows each, and over caches of their own."""
    backend = OnnxRuntimeBackend(open_bundle(tiny_bundle), 1)
    generator = np.random.default_rng(4)
    fed = [generator.integers(0, 12, (4, count)) for count in (3, 1, 2)]
    pools = [backend.new_pool("target", 6) for _ in range(2)]
    together = pools[0].rows(1, 4)
    apart = [pools[1].rows(1, 2), pools[1].rows(3, 2)]
    own = [backend.new_cache("target", 2) for _ in range(2)]
    start = np.array([0, 0, 2, 2])  # the second decode's slots are elsewhere
    for tokens in fed:
        count = tokens.shape[1]
        positions = start[:, None] + np.arange(count)
        ranks = np.full((4, 13), DEAD_RANK)
        for row in range(4):
            ranks[row, : start[row] + count] = np.arange(start[row] + count)
        inputs: dict[str, NDArray[Any]] = {
            "tokens": tokens,
            "prefix": np.zeros((4, count, 8), np.float32),
            "positions": positions,
            "slot_ranks": ranks,
            "write_index": start.copy(),
        }
        joint = backend.score("target", together, inputs)
        for number, rows in enumerate((slice(0, 2), slice(2, 4))):
            part = {name: value[rows] for name, value in inputs.items()}
            expected = backend.feed("target", own[number], part)
            for found in (joint.part(2 * number, 2, count).logits(), backend.feed("target", apart[number], part)):
                np.testing.assert_allclose(found, expected, atol=1e-5)
        start += count
    pools[0].clear(1, 2)
    for value in pools[0].arrays.values():
        assert not value[:3].any()
        assert value[3:5].any()


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_passes_that_read_more_weights_than_keys_and_values_gain(tiny_bundle: Path, ratio: float) -> None:
    """Of a decode with guidance: two rows, all their slots."""
    bundle = open_bundle(tiny_bundle)
    graph = bundle.manifest.graphs["target"]
    read = sum(tensor.bytes for tensor in cache_tensors(graph, 2))
    file = graph.onnx.model_copy(update={"size_bytes": int(ratio * read)})
    graphs = bundle.manifest.graphs | {"target": graph.model_copy(update={"onnx": file})}
    manifest = bundle.manifest.model_copy(update={"graphs": graphs})
    assert OnnxRuntimeBackend(replace(bundle, manifest=manifest)).gains_by_sharing("target") == (ratio > 1)

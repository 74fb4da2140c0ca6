"""What ONNX Runtime computes, TensorRTBackend computes by the same graph at the right addresses."""

import ctypes
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.backends.caches import CacheTensor
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend, TensorRTCache
from mulo_sd.engines.bundle import Bundle, open_bundle
from mulo_sd.engines.passes.transformer import TransformerSession
from tests.engines.backends.tensorrt.minimal_decodes import SETTINGS, with_plans
from tests.engines.backends.tensorrt.tiny_passes import decode_steps, prefix_ids, sampler_inputs
from tests.fakes.tensorrt import FakeEngine, Fakes


@pytest.mark.parametrize(("dtype", "item_bytes"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_cache_sizes(dtype: str, item_bytes: int) -> None:
    tensor = CacheTensor("key_0", (2, 4, 1292, 64), dtype)
    assert tensor.slot_bytes == 64 * item_bytes
    assert tensor.bytes == 2 * 4 * 1292 * 64 * item_bytes


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_feed_and_keep_slots_equal_onnx_runtime(
    fakes: Fakes, precision: str, batch: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole decode's passes: logits, compactions, and every live slot of the cache at the end."""
    opened = open_bundle(request.getfixturevalue({"fp32": "tiny_bundle", "fp16": "tiny_fp16_bundle"}[precision]))
    kept: list[int] = []
    keep_slots = TensorRTBackend.keep_slots

    def counted(self: TensorRTBackend, graph: str, cache: TensorRTCache, slots: NDArray[np.int64]) -> None:
        kept.append(len(slots))
        keep_slots(self, graph, cache, slots)

    monkeypatch.setattr(TensorRTBackend, "keep_slots", counted)
    expected = TransformerSession(OnnxRuntimeBackend(opened, 1), opened.manifest.target, prefix_ids(batch))
    actual = TransformerSession(TensorRTBackend(opened, "trt-rtx"), opened.manifest.target, prefix_ids(batch))
    for want, got in zip(decode_steps(expected, 3), decode_steps(actual, 3), strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(kept) > 2
    cache: Any = actual.cache
    for name, (tensor, address) in cache.tensors.items():
        value = expected.cache.arrays[name]  # type: ignore[attr-defined]
        content = ctypes.string_at(address, tensor.bytes)
        found = np.frombuffer(content, dtype=value.dtype).reshape(tensor.shape)
        np.testing.assert_array_equal(found[:, :, : actual.slots.used], value[:, :, : actual.slots.used])


def test_everything_is_given_back(fakes: Fakes, bundle: Bundle) -> None:
    """A cache's memory goes with the cache, the rest with the backend."""
    backend = TensorRTBackend(bundle, "trt-rtx")
    session = TransformerSession(backend, bundle.manifest.target, prefix_ids(2))
    list(decode_steps(session, 4))
    before = len(fakes.cuda.memory)
    del session
    assert len(fakes.cuda.memory) == before - 2  # one layer's keys and values
    del backend
    assert not fakes.cuda.memory
    assert fakes.cuda.streams == 0


@pytest.mark.parametrize("host", [set(), {"shift"}, {"temperature", "tokens"}])
def test_stateless_graphs(fakes: Fakes, bundle: Bundle, host: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs without dimensions, tensors that TensorRT wants on the host, buffers that grow and are used again."""
    backend, expected = TensorRTBackend(bundle, "trt-rtx"), OnnxRuntimeBackend(bundle, 1)
    monkeypatch.setattr(FakeEngine, "HOST", host)
    backend.run("sampler", sampler_inputs(1))
    for rows in (3, 64, 2, 5):
        inputs = sampler_inputs(rows)
        inputs["logits"] = np.asfortranarray(inputs["logits"])  # not as it lies in device memory
        got, want = backend.run("sampler", inputs), expected.run("sampler", inputs)
        assert got.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value)
            assert got[name].dtype == value.dtype
    assert len(fakes.trt.engines) == 1
    assert len(fakes.cuda.memory) <= 6  # one of them for what the plan computes


def test_threads_share_a_backend(fakes: Fakes, bundle: Bundle) -> None:
    """Decodes in several threads do not disturb one another."""
    backend = TensorRTBackend(bundle, "trt-rtx")

    def decode(seed: int, results: dict[int, list[NDArray[np.float32]]]) -> None:
        session = TransformerSession(backend, bundle.manifest.target, prefix_ids(2))
        results[seed] = list(decode_steps(session, seed))

    alone: dict[int, list[NDArray[np.float32]]] = {}
    together: dict[int, list[NDArray[np.float32]]] = {}
    for seed in range(3):
        decode(seed, alone)
    threads = [threading.Thread(target=decode, args=(seed, together)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(3):
        for want, got in zip(alone[seed], together[seed], strict=True):
            np.testing.assert_array_equal(got, want)


def test_writes_and_moves_beyond_the_cache(fakes: Fakes, bundle: Bundle) -> None:
    """Neither reaches the device, which would not notice."""
    session = TransformerSession(TensorRTBackend(bundle, "trt-rtx"), bundle.manifest.target, prefix_ids(1))
    inputs = {
        "tokens": np.zeros((1, 3), dtype=np.int64),
        "write_index": np.array([11]),
        "slot_ranks": np.zeros((1, 13), dtype=np.int64),
    }
    with pytest.raises(BackendError, match="expected writes into 13 slots, got one that ends at 14"):
        session.backend.feed("target", session.cache, inputs)
    with pytest.raises(ValueError, match="expected numbers below 13, got 13"):
        session.backend.keep_slots("target", session.cache, np.array([13]))


def test_memory(large_fakes: Fakes, minimal: Bundle) -> None:
    """Plans share what they compute in; every byte on the device is somewhere in the report."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    assert set(backend.memory().values()) == {0}
    pipeline = engines.Pipeline(bundle, backend)
    pipeline.generate("a red circle", **SETTINGS["parallel"])
    found = backend.memory()
    names = {graph.content: None for graph in large_fakes.trt.engines}
    assert found["weights"] == sum(len(content) for content in names)  # each loaded once
    assert found["caches"] == 0  # they went with the decode
    assert found["activations"] == max(engine.device_memory_size_v2 for engine in large_fakes.trt.engines)
    on_device = sum(len(data) for data in large_fakes.cuda.memory.values())
    assert sum(found.values()) - found["weights"] == on_device
    cache = backend.new_cache("target", 2)
    assert backend.memory()["caches"] == sum(tensor.bytes for tensor, _ in cache.tensors.values())

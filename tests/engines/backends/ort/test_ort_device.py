"""ONNX Runtime on a device, with the CPU for the device: what it draws is what the plain backend draws."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.engines.backends import BackendError, make_backend
from mulo_sd.engines.backends.host_scores import HostScores
from mulo_sd.engines.backends.nvidia_driver import Gpu
from mulo_sd.engines.backends.ort import device as onnx_runtime_device
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.backends.ort.device import OnnxRuntimeDeviceBackend
from mulo_sd.engines.backends.readiness import INSTALL_ORT_CUDA
from mulo_sd.engines.bundle import Bundle, open_bundle
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.noise import NoiseSource

SETTINGS: dict[str, dict[str, Any]] = {
    "ar": {"mode": "ar", "guidance_scale": 3.0, "top_k": 5},
    "parallel": {"mode": "parallel", "neighbours": 4, "tau": 0.2, "anchor": 2.0, "temperature": 0.8, "top_k": 9},
    "exact": {"mode": "exact", "neighbours": 4, "temperature": 0.7},
    "unguided": {"mode": "parallel", "neighbours": 4, "guidance_scale": 1.0, "adaptive_window": True},
}


@pytest.fixture(scope="module")
def minimal(minimal_bundle: Path) -> Bundle:
    return open_bundle(minimal_bundle)


def grid(backend: Any, bundle: Bundle, given: str) -> NDArray[np.int64]:
    pipeline = engines.Pipeline(bundle, backend)
    tokens: NDArray[np.int64] = pipeline.generate("a red circle", seed=3, **SETTINGS[given]).tokens
    return tokens


@pytest.mark.parametrize("given", SETTINGS)
def test_decodes(minimal: Bundle, given: str) -> None:
    """With logits on the device and scattered rows; the cache is compacted on the way."""
    expected = grid(OnnxRuntimeBackend(minimal, 1), minimal, given)
    np.testing.assert_array_equal(grid(OnnxRuntimeDeviceBackend(minimal, "cpu"), minimal, given), expected)


@pytest.mark.parametrize("rows", [[0], [2, 3, 4], [0, 4, 7]])
@pytest.mark.parametrize("batch", [1, 2])
def test_scores_are_those_of_the_logits(minimal: Bundle, rows: list[int], batch: int) -> None:
    backend = OnnxRuntimeDeviceBackend(minimal, "cpu")
    state = TransformerSession(backend, minimal.manifest.target, np.zeros((batch, 12, 5), dtype=np.int64))
    first = state.prefill().last()
    kept = first.logits()
    scores = state.feed(np.arange(8), np.arange(8) * 2)
    host, asked = HostScores(backend, scores.logits()), np.array(rows)
    distribution, noise = engines.Distribution(guidance_scale=1.5, top_k=20), NoiseSource(3, 0, 64, 48)
    neighbours = minimal.neighbours[:, :4]
    got: list[Any] = [
        scores.sample(asked, asked + 1, distribution, noise, None),
        *scores.draw(asked, distribution, noise.rows(asked)),
    ]
    want: list[Any] = [
        host.sample(asked, asked + 1, distribution, noise, None),
        *host.draw(asked, distribution, noise.rows(asked)),
    ]
    got += vars(scores.judge(asked, distribution, asked, neighbours)).values()
    want += vars(host.judge(asked, distribution, asked, neighbours)).values()
    for value, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_array_equal(first.logits(), kept)
    one = np.zeros(1, dtype=np.int64)
    np.testing.assert_array_equal(
        first.sample(one, one, distribution, noise, None),
        HostScores(backend, kept).sample(one, one, distribution, noise, None),
    )


def test_slots_are_kept(minimal: Bundle) -> None:
    """As the plain backend keeps them."""
    device, plain = OnnxRuntimeDeviceBackend(minimal, "cpu"), OnnxRuntimeBackend(minimal, 1)
    sessions = [
        TransformerSession(backend, minimal.manifest.target, np.zeros((2, 12, 5), dtype=np.int64))
        for backend in (device, plain)
    ]
    for session in sessions:
        session.prefill()
    generator = np.random.default_rng(1)
    for _ in range(12):
        cells = np.sort(generator.permutation(64)[: generator.integers(1, 40)])
        tokens = generator.integers(0, 48, len(cells))
        got, want = (session.feed(cells, tokens).logits() for session in sessions)
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_writes_beyond_the_cache(minimal: Bundle) -> None:
    backend = OnnxRuntimeDeviceBackend(minimal, "cpu")
    inputs = {
        "tokens": np.zeros((1, 3), dtype=np.int64),
        "write_index": np.array([139]),
        "slot_ranks": np.zeros((1, 140), dtype=np.int64),
    }
    with pytest.raises(BackendError, match="expected writes into 140 slots, got one that ends at 142"):
        backend.feed("target", backend.new_cache("target", 1), inputs)


def test_without_the_provider(minimal: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says how to get it."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=r"^backend ort-cuda: .* has no CUDAExecutionProvider; install") as caught:
        make_backend("ort-cuda", minimal)
    assert str(caught.value).endswith(INSTALL_ORT_CUDA)


def test_without_a_gpu(minimal: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded, so that ONNX Runtime prints no lines of its own."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnx_runtime_device, "gpus", tuple)
    with pytest.raises(BackendError, match=r"^backend ort-cuda: no NVIDIA GPU is at hand; use --backend ort$"):
        make_backend("ort-cuda", minimal)


def test_without_cuda(minimal: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would go on with the CPU alone."""
    asked: list[str] = []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: asked.append("libraries of wheels"))
    monkeypatch.setattr(onnx_runtime_device, "gpus", lambda: (Gpu("NVIDIA L4", "8.9"),))
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnx_runtime_device, "make_session", lambda *_: session)
    with pytest.raises(BackendError, match=r"^backend ort-cuda: .* cannot load CUDA or cuDNN.* --backend ort$"):
        make_backend("ort-cuda", minimal)
    assert asked == ["libraries of wheels"]

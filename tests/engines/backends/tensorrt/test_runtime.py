"""What is missing is said in one line before a plan is loaded: the modules, the GPU, the plans."""

import contextlib
import dataclasses
import importlib
import sys

import pytest

from mulo_sd.engines.backends import BackendError, make_backend
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from tests.fakes.cuda import SUCCESS, FakeCuda
from tests.fakes.tensorrt import Fakes, fake_tensorrt


@pytest.mark.parametrize("name", ["trt-rtx", "trt"])
def test_without_a_gpu_there_is_one_clear_line(name: str, bundle: Bundle) -> None:
    """With the modules that are really installed here: one of them, or the GPU, is missing."""
    with contextlib.suppress(ImportError):
        code, count = importlib.import_module("cuda.bindings.runtime").cudaGetDeviceCount()
        if int(code) == SUCCESS and count:
            pytest.skip("an NVIDIA GPU is at hand")
    with pytest.raises(BackendError) as caught:
        make_backend(name, bundle)
    message = str(caught.value)
    assert message.startswith(f"backend {name}: ")
    assert "\n" not in message
    assert f"mulo-sd[{name}]" in message or "use --backend ort" in message


def test_tensorrt_proper_is_not_installed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendError, match=r"^backend trt: cannot import tensorrt \(.*\); install it with .*\[trt\]"):
        make_backend("trt", bundle)


def test_unknown_backend(bundle: Bundle) -> None:
    with pytest.raises(
        BackendError, match="expected one of ort, ort-cuda, trt-rtx, trt, torch-cuda or module:factory, got 'cuda'"
    ):
        make_backend("cuda", bundle)


@pytest.mark.parametrize("name", ["trt-rtx", "trt"])
def test_no_gpu(name: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's own reason is told, and TensorRT's runtime is not touched."""
    cuda = FakeCuda(devices=0)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, {"trt-rtx": "tensorrt_rtx", "trt": "tensorrt"}[name], fake_tensorrt(cuda))
    with pytest.raises(BackendError) as caught:
        make_backend(name, bundle)
    assert str(caught.value) == (
        f"backend {name}: no NVIDIA GPU is at hand (CUDA reports: driver is insufficient); use --backend ort"
    )


def test_cuda_bindings_are_not_installed(fakes: Fakes, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(BackendError, match=r"^backend trt-rtx: cannot import the package cuda-bindings"):
        make_backend("trt-rtx", bundle)


def test_missing_plans(fakes: Fakes, bundle: Bundle) -> None:
    """The message names the graphs and the command that builds their plans."""
    graphs = dict(bundle.manifest.graphs)
    for name in ("decoder", "target"):
        graphs[name] = graphs[name].model_copy(update={"plans": ()})
    without = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": graphs}))
    with pytest.raises(BackendError) as caught:
        TensorRTBackend(without, "trt-rtx")
    message = str(caught.value)
    assert "manifest.json: must be rebuilt: it holds no trt-rtx plan of decoder, target; build it again" in message
    assert "`mulo-sd build --backend trt-rtx --force --precision fp32 --out " in message
    assert "\n" not in message

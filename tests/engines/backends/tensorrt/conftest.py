"""CUDA and TensorRT are the fakes of `tests/fakes` here, and ONNX files stand in for plans."""

import sys
from pathlib import Path

import pytest

from mulo_sd.engines.bundle import Bundle, open_bundle
from tests.engines.backends.tensorrt.minimal_decodes import PROFILES
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt import FakeEngine, Fakes, fake_tensorrt


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    cuda = FakeCuda()
    both = Fakes(cuda, fake_tensorrt(cuda))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    for module in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, both.trt)
    monkeypatch.setenv("MULO_SD_CACHE", "")
    return both


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def minimal(minimal_bundle: Path) -> Bundle:
    return open_bundle(minimal_bundle)


@pytest.fixture
def large_fakes(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """The fakes with plans of several profiles."""
    monkeypatch.setattr(FakeEngine, "PROFILES", PROFILES)
    return fakes

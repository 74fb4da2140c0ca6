"""CUDA graphs of TensorRT proper."""

import gc

import numpy as np

from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from tests.engines.backends.tensorrt.minimal_decodes import SETTINGS, Plain, grids, with_plans
from tests.fakes.tensorrt import Fakes


def test_captures_fail_quietly(large_fakes: Fakes, minimal: Bundle) -> None:
    """Passes are run as they are then, and a note says so."""
    bundle = with_plans(minimal, "trt")
    backend = TensorRTBackend(bundle, "trt")
    large_fakes.cuda.failing = "cudaStreamBeginCapture"
    got = grids(backend, bundle, SETTINGS["ar"])
    large_fakes.cuda.failing = ""
    for tokens, want in zip(got, grids(Plain(minimal), minimal, SETTINGS["ar"]), strict=True):
        np.testing.assert_array_equal(tokens, want)
    assert large_fakes.cuda.launches == 0
    assert any(note.startswith("graph target: runs without CUDA graphs: backend trt: ") for note in backend.notes)


def test_graphs_are_given_back(large_fakes: Fakes, minimal: Bundle) -> None:
    bundle = with_plans(minimal, "trt")
    backend = TensorRTBackend(bundle, "trt")
    grids(backend, bundle, SETTINGS["ar"])
    assert large_fakes.cuda.graphs
    del backend
    gc.collect()
    assert not large_fakes.cuda.graphs
    assert not large_fakes.cuda.memory

"""Whatever CUDA or TensorRT refuses: one line that says what, for which graph."""

import numpy as np
import pytest

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from tests.engines.backends.tensorrt.tiny_passes import sampler_inputs
from tests.fakes.tensorrt import FakeContext, Fakes


@pytest.mark.parametrize(
    "function",
    [
        *("cudaSetDevice", "cudaMalloc", "cudaMemsetAsync", "cudaMemcpyAsync", "cudaMemcpy2DAsync"),
        "cudaStreamSynchronize",
    ],
)
def test_cuda_failures(fakes: Fakes, bundle: Bundle, function: str) -> None:
    """Whichever call fails: one line with CUDA's reason."""
    backend = TensorRTBackend(bundle, "trt-rtx")
    cache = backend.new_cache("target", 1)
    fakes.cuda.failing = function
    with pytest.raises(BackendError, match=r"^backend trt-rtx: .*: invalid argument$"):  # noqa: PT012
        backend.keep_slots("target", cache, np.array([1, 3]))
        backend.new_cache("target", 1)
        backend.run("sampler", sampler_inputs(1))
    fakes.cuda.failing = ""


@pytest.mark.parametrize(
    ("function", "result", "said"),
    [
        ("set_input_shape", False, "was not built for shape"),
        ("set_tensor_address", False, "cannot set the address"),
        ("execute_async_v3", False, "cannot run"),
        ("infer_shapes", ["logits"], "leave the shapes of logits open"),
        ("get_tensor_shape", [-1], "expected a known shape"),
    ],
)
def test_tensorrt_failures(
    fakes: Fakes, bundle: Bundle, function: str, result: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever TensorRT refuses: one line that says what, for which graph."""
    backend = TensorRTBackend(bundle, "trt-rtx")
    monkeypatch.setattr(FakeContext, function, lambda *_: result)
    with pytest.raises(BackendError, match=rf"^backend trt-rtx: graph sampler: .*{said}.*: it gives no reason$"):
        backend.run("sampler", sampler_inputs(1))

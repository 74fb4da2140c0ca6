"""The fakes have no name that the real modules lack."""

import pytest

from tests.fakes.cuda import SUCCESS, FakeCuda
from tests.fakes.tensorrt import FakeConfig, FakeContext, FakeEngine, FakeKernels, fake_tensorrt


def public(owner: type) -> set[str]:
    return {name for name, value in vars(owner).items() if callable(value) and not name.startswith("_")}


def test_the_fake_tensorrt_has_only_what_tensorrt_has() -> None:
    """Every name that the backend can find in the fake is one of the real module's."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    fake = fake_tensorrt(FakeCuda())
    assert public(FakeEngine) <= set(dir(trt.ICudaEngine))
    assert public(FakeContext) <= set(dir(trt.IExecutionContext))
    assert public(fake.Runtime) <= set(dir(trt.Runtime))
    assert {*public(FakeConfig), "cuda_graph_strategy"} <= set(dir(trt.IRuntimeConfig))
    assert public(FakeKernels) <= set(dir(trt.IRuntimeCache))
    for kind in ("ExecutionContextAllocationStrategy", "CudaGraphStrategy", "EngineStat"):
        assert set(vars(getattr(fake, kind))) <= set(dir(getattr(trt, kind)))
    assert {"ERROR", "INTERNAL_ERROR"} <= set(dir(trt.ILogger))
    assert set(vars(fake.TensorIOMode)) <= set(dir(trt.TensorIOMode))
    assert set(vars(fake.TensorLocation)) <= set(dir(trt.TensorLocation))
    assert {*FakeEngine.NAMES.values(), "BF16"} <= set(dir(trt.DataType))


def test_the_fake_cuda_has_only_what_cuda_has() -> None:
    api = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    assert {name for name in vars(FakeCuda) if name.startswith("cuda")} <= set(dir(api))
    assert set(vars(FakeCuda.cudaStreamCaptureMode)) <= set(dir(api.cudaStreamCaptureMode))
    assert set(vars(FakeCuda.cudaMemcpyKind)) <= set(dir(api.cudaMemcpyKind))
    assert int(api.cudaError_t.cudaSuccess) == SUCCESS
    assert int(api.cudaStreamNonBlocking) == FakeCuda.cudaStreamNonBlocking

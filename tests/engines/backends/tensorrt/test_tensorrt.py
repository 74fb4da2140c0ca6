"""The TensorRT backend as far as it can be tested without a GPU.

`FakeCuda` and `fake_tensorrt` stand in for the real modules: "device" memory is host memory that is
reached only by address, a stream does nothing before it is synchronised, and an engine is ONNX Runtime
on the graph whose bytes the tiny bundle's "plans" are. What passes with them shows the order of calls,
the addresses, sizes and shapes; it does not show that TensorRT builds, loads or runs anything.
"""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import importlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.engines.backends import BackendError, make_backend
from mulo_sd.engines.backends.base import CacheTensor, PoolingBackend
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.backends.tensorrt import kernel_file
from mulo_sd.engines.backends.tensorrt import scores as tensorrt_scores
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend, TensorRTCache, cache_bytes, slot_bytes
from mulo_sd.engines.backends.tensorrt.kernel_file import KernelFile, cache_folder
from mulo_sd.engines.backends.tensorrt.slot_runs import SlotRun, slot_runs
from mulo_sd.engines.bundle import Bundle, open_bundle
from mulo_sd.engines.bundle.manifest import PlanEntry
from mulo_sd.engines.commands.demo_bundle import build_demo_bundle, bundle_path
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.scores import HostScores

ALIGNMENT = 256
DEVICE = 1  # not the one that other threads start with
SUCCESS, INVALID_VALUE, INSUFFICIENT_DRIVER = 0, 1, 35
REASONS = {SUCCESS: b"no error", INVALID_VALUE: b"invalid argument", INSUFFICIENT_DRIVER: b"driver is insufficient"}


class FakeCuda:
    """The part of `cuda.bindings.runtime` that the backend may use, and checks of how it is used."""

    cudaError_t = SimpleNamespace(cudaSuccess=SUCCESS)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeRelaxed=2)  # noqa: N815
    STREAM = 77

    def __init__(self, devices: int = 2) -> None:
        self.devices = devices
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.queue: list[Callable[[], object]] = []
        self.captured: list[Callable[[], object]] | None = None
        self.graphs: dict[int, list[Callable[[], object]]] = {}
        self.launches = self.synchronisations = 0
        self.downloaded = self.uploaded = 0  # bytes
        self.current = threading.local()
        self.current.device = DEVICE
        self.failing = ""
        self.streams = 0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cuda") and name == object.__getattribute__(self, "failing"):
            return lambda *_: (INVALID_VALUE, None)
        return object.__getattribute__(self, name)

    def check(self, address: int, size: int, on_device: bool = True) -> None:
        inside = [start <= address and address + size <= start + len(data) for start, data in self.memory.items()]
        if any(inside) != on_device:
            raise AssertionError(f"{size} bytes at {address}: not inside one allocation")
        if getattr(self.current, "device", 0) != DEVICE:
            raise AssertionError("another device is current in this thread")

    def cudaGetDeviceCount(self) -> tuple[int, int | None]:  # noqa: N802
        return (SUCCESS, self.devices) if self.devices else (INSUFFICIENT_DRIVER, None)

    def cudaGetErrorString(self, code: int) -> tuple[int, bytes]:  # noqa: N802
        return SUCCESS, REASONS[code]

    def cudaGetDevice(self) -> tuple[int, int]:  # noqa: N802
        return SUCCESS, getattr(self.current, "device", 0)

    def cudaSetDevice(self, device: int) -> tuple[int]:  # noqa: N802
        self.current.device = device
        return (SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, int]:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        self.streams += 1
        return SUCCESS, self.STREAM

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        self.streams -= 1
        return (SUCCESS,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:  # noqa: N802
        data = np.full(size + ALIGNMENT, 0xFF, dtype=np.uint8)  # NaN in every floating-point type
        start = -data.ctypes.data % ALIGNMENT
        self.memory[data.ctypes.data + start] = data[start : start + size]
        return SUCCESS, data.ctypes.data + start

    def cudaFree(self, address: int) -> tuple[int]:  # noqa: N802
        self.run_queue()  # it waits for the device
        del self.memory[address]
        return (SUCCESS,)

    def cudaMemsetAsync(self, address: int, value: int, size: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        self.check(address, size)
        self.put(lambda: ctypes.memset(address, value, size))
        return (SUCCESS,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        assert kind in (1, 2)
        self.check(to, size, on_device=kind == 1)
        self.check(source, size, on_device=kind == 2)
        # An upload from pageable memory has read it on return; a download is done at synchronisation.
        content = ctypes.string_at(source, size) if kind == 1 else None
        self.uploaded += size * (kind == 1)
        self.downloaded += size * (kind == 2)
        self.put(lambda: ctypes.memmove(to, content or ctypes.string_at(source, size), size))
        return (SUCCESS,)

    def cudaMemcpy2DAsync(  # noqa: N802
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int, kind: int, stream: int
    ) -> tuple[int]:
        assert (kind, stream) == (3, self.STREAM)
        assert width <= min(to_pitch, pitch)
        for row in range(rows):
            to_row, source_row = to + row * to_pitch, source + row * pitch
            assert abs(to_row - source_row) >= width, "undefined: the copy overlaps itself"
            self.check(to_row, width)
            self.check(source_row, width)
            self.put(functools.partial(ctypes.memmove, to_row, source_row, width))
        return (SUCCESS,)

    def put(self, step: Callable[[], object]) -> None:
        (self.queue if self.captured is None else self.captured).append(step)

    def cudaGetDeviceProperties(self, device: int) -> tuple[int, SimpleNamespace]:  # noqa: N802
        assert device == DEVICE
        return SUCCESS, SimpleNamespace(name=b"A fake/GPU")

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:  # noqa: N802
        assert (stream, mode, self.captured) == (self.STREAM, 2, None)
        self.captured = []
        return (SUCCESS,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:  # noqa: N802
        assert stream == self.STREAM
        steps, self.captured = self.captured, None
        return SUCCESS, steps

    def cudaGraphInstantiate(self, graph: list[Callable[[], object]], flags: int) -> tuple[int, int]:  # noqa: N802
        assert flags == 0
        self.graphs[id(graph)] = graph
        return SUCCESS, id(graph)

    def cudaGraphDestroy(self, graph: list[Callable[[], object]]) -> tuple[int]:  # noqa: N802
        return (SUCCESS,)

    def cudaGraphExecDestroy(self, handle: int) -> tuple[int]:  # noqa: N802
        del self.graphs[handle]
        return (SUCCESS,)

    def cudaGraphLaunch(self, handle: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        self.launches += 1
        self.queue.extend(self.graphs[handle])
        return (SUCCESS,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        assert self.captured is None
        self.synchronisations += 1
        self.run_queue()
        return (SUCCESS,)

    def run_queue(self) -> None:
        work, self.queue = self.queue, []
        for step in work:
            step()


class FakeEngine:
    """A deserialised plan: ONNX Runtime on the bytes of an ONNX graph."""

    NAMES = {"tensor(int64)": "INT64", "tensor(float)": "FLOAT", "tensor(float16)": "HALF"}  # noqa: RUF012
    TYPES = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(float16)": np.float16}  # noqa: RUF012
    HOST: set[str] = set()  # noqa: RUF012
    # Of every profile, the largest of each dimension that has one.
    PROFILES: list[dict[str, int]] = [{"batch": 2, "fed": 10, "rows": 64, "slots": 13}]  # noqa: RUF012
    ACTIVATIONS = 1000

    def __init__(self, cuda: FakeCuda, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.cuda = cuda
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.outputs = {value.name: value for value in self.session.get_outputs()}
        self.names: list[str] = [*self.outputs, *self.inputs]  # in no order that the backend may rely on
        self.num_io_tensors = len(self.names)
        self.aliases = {f"new_{name}": name for name in self.inputs if f"new_{name}" in self.outputs}
        self.host = set(self.HOST)
        self.content = content
        self.num_optimization_profiles = len(self.PROFILES)
        self.device_memory_size_v2 = self.ACTIVATIONS + len(self.names)

    def get_engine_stat(self, stat: str) -> int:
        assert stat == "TOTAL_WEIGHTS_SIZE"
        return len(self.content)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name in self.inputs else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=self.NAMES[(self.inputs | self.outputs)[name].type])

    def get_tensor_location(self, name: str) -> str:
        return "HOST" if name in self.host else "DEVICE"

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return self.aliases.get(name)

    def create_runtime_config(self) -> "FakeConfig":
        return FakeConfig()

    def create_execution_context(self, how: object) -> "FakeContext":
        strategy = how.strategy if isinstance(how, FakeConfig) else how
        assert strategy == "USER_MANAGED"
        return FakeContext(self)


class FakeKernels:
    """A runtime cache: it takes what begins as it writes."""

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        if content.startswith(b"raise"):
            raise RuntimeError("a damaged cache")
        if content.startswith(b"kernels"):
            self.content = content
        return content.startswith(b"kernels")

    def serialize(self) -> bytes:
        return b"kernels" + self.content[7:] + b"."

    def reset(self) -> bool:
        self.content = b""
        return True


class FakeConfig:
    """A runtime configuration."""

    strategy = "STATIC"
    cuda_graph_strategy = "DISABLED"
    kernels: FakeKernels | None = None

    def create_runtime_cache(self) -> FakeKernels:
        return FakeKernels()

    def set_runtime_cache(self, kernels: FakeKernels) -> bool:
        self.kernels = kernels
        return True

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy


class FakeContext:
    """Runs an engine on whatever lies at the addresses it was given, once the stream is synchronised."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.sizes = engine, dict[str, int]()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.profile: int | None = None
        self.memory = (0, 0)

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream == FakeCuda.STREAM
        self.profile = profile
        return profile < self.engine.num_optimization_profiles

    def set_device_memory(self, address: int, size: int) -> None:
        assert address % ALIGNMENT == 0
        self.memory = (address, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        time.sleep(0)  # let another thread in
        assert type(shape) is tuple
        assert self.profile is not None
        largest = self.engine.PROFILES[self.profile]
        expected = self.engine.inputs[name].shape
        fits = len(shape) == len(expected)
        for size, dimension in zip(shape, expected, strict=False):
            fits &= size == dimension if isinstance(dimension, int) else 1 <= size <= largest.get(dimension, 10**9)
            self.sizes[dimension] = size
        self.shapes[name] = shape
        return fits

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert type(address) is int
        self.addresses[name] = address
        return name in self.engine.names

    def infer_shapes(self) -> list[str]:
        return sorted(self.engine.inputs.keys() - self.shapes.keys())

    def get_tensor_shape(self, name: str) -> list[int]:
        dimensions = self.engine.outputs[name].shape
        # A dimension may be an expression such as 2*rows.
        return [
            size if isinstance(size, int) else eval(size, {"TruncToInt": int, "ToFloat": float}, dict(self.sizes))
            for size in dimensions
        ]

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == FakeCuda.STREAM
        if any(self.addresses[name] != self.addresses[source] for name, source in self.engine.aliases.items()):
            return False
        assert self.profile is not None
        address, size = self.memory
        assert size >= self.engine.device_memory_size_v2
        self.engine.cuda.check(address, size)
        for name, place in self.addresses.items():
            assert name in self.engine.host or place % ALIGNMENT == 0
        addresses = dict(self.addresses)
        inputs = {name: self._place(name, addresses, self.shapes[name]) for name in self.engine.inputs}
        outputs = {name: self._place(name, addresses, self.get_tensor_shape(name)) for name in self.engine.outputs}

        def work() -> None:
            self.engine.cuda.check(address, size)
            ctypes.memset(address, 0xEE, size)
            results = self.engine.session.run(list(outputs), inputs)
            for place, result in zip(outputs.values(), results, strict=True):
                place[...] = result

        self.engine.cuda.put(work)
        return True

    def _place(self, name: str, addresses: dict[str, int], shape: Any) -> NDArray[Any]:
        """View memory as a tensor, without a copy."""
        dtype: Any = np.dtype(self.engine.TYPES[(self.engine.inputs | self.engine.outputs)[name].type])
        size = int(np.prod(shape)) * dtype.itemsize
        self.engine.cuda.check(addresses[name], size, on_device=name not in self.engine.host)
        memory: Any = (ctypes.c_char * size).from_address(addresses[name])
        flat: NDArray[Any] = np.frombuffer(memory, dtype=dtype)
        return flat.reshape(shape)


def fake_tensorrt(cuda: FakeCuda) -> SimpleNamespace:
    """Return a stand-in for `tensorrt_rtx`; its engines are collected in `engines`."""

    class ILogger:
        ERROR, INTERNAL_ERROR, WARNING = 1, 0, 2

    engines: list[FakeEngine] = []

    class Runtime:
        def __init__(self, logger: Any) -> None:
            if not cuda.devices:
                raise AssertionError("the runtime was touched without a GPU")
            self.logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
            try:
                engines.append(FakeEngine(cuda, content))
            except Exception:
                self.logger.log(ILogger.WARNING, "a warning")
                self.logger.log(ILogger.ERROR, "the plan's header is damaged\nand more")
                return None
            return engines[-1]

    return SimpleNamespace(
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
        TensorLocation=SimpleNamespace(HOST="HOST", DEVICE="DEVICE"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="USER_MANAGED"),
        CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="WHOLE_GRAPH_CAPTURE"),
        EngineStat=SimpleNamespace(TOTAL_WEIGHTS_SIZE="TOTAL_WEIGHTS_SIZE"),
        engines=engines,
        __version__="1",
    )


class Fakes(NamedTuple):
    cuda: FakeCuda
    trt: SimpleNamespace


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    cuda = FakeCuda()
    found = Fakes(cuda, fake_tensorrt(cuda))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    for module in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, found.trt)
    monkeypatch.setenv("MULO_SD_CACHE", "")
    return found


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


def decode_steps(session: TransformerSession, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of a prefill and of passes at scattered cells, enough of them to compact several times."""
    yield session.prefill().logits()
    generator = np.random.default_rng(seed)
    for _ in range(12):
        cells = np.sort(generator.permutation(8)[: generator.integers(1, 9)])
        yield session.feed(cells, generator.integers(0, 12, len(cells))).logits()


def prefix_ids(batch: int) -> NDArray[np.int64]:
    return np.arange(batch * 6).reshape(batch, 2, 3) % 12


# Without any fake


@given(st.sets(st.integers(0, 40)))
@settings(deadline=None)
def test_slot_runs_gather(kept: set[int]) -> None:
    """Moving the runs one after another equals taking the slots; no run can be merged with the next."""
    slots = np.array(sorted(kept), dtype=np.int64)
    runs = slot_runs(slots)
    values = np.arange(41)
    moved = values.copy()
    for run in runs:
        assert run.destination <= run.source
        moved[run.destination : run.destination + run.length] = values[run.source : run.source + run.length]
    np.testing.assert_array_equal(moved[: len(slots)], slots)
    for run, following in itertools.pairwise(runs):
        assert following.destination == run.destination + run.length
        assert following.source > run.source + run.length


def test_slot_runs_examples() -> None:
    assert slot_runs(np.array([], dtype=np.int64)) == []
    assert slot_runs(np.array([0, 1, 2])) == [SlotRun(0, 0, 3)]
    assert slot_runs(np.array([0, 3, 4, 9])) == [SlotRun(0, 0, 1), SlotRun(3, 1, 2), SlotRun(9, 3, 1)]


@pytest.mark.parametrize("slots", [[1, 1], [2, 1], [-1, 0]])
def test_slot_runs_refuse_what_is_not_ascending(slots: list[int]) -> None:
    with pytest.raises(ValueError, match="expected ascending"):
        slot_runs(np.array(slots))


@pytest.mark.parametrize(("dtype", "item_bytes"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_cache_sizes(dtype: str, item_bytes: int) -> None:
    tensor = CacheTensor("key_0", (2, 4, 1292, 64), dtype)
    assert slot_bytes(tensor) == 64 * item_bytes
    assert cache_bytes(tensor) == 2 * 4 * 1292 * 64 * item_bytes


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


def test_unknown_backend(bundle: Bundle) -> None:
    with pytest.raises(
        BackendError, match="expected one of ort, ort-cuda, trt-rtx, trt, torch-cuda or module:factory, got 'cuda'"
    ):
        make_backend("cuda", bundle)


# With the fakes: before a plan is loaded


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
    assert "manifest.json: no trt-rtx plan of decoder, target;" in message
    assert "`mulo-sd build --backend trt-rtx --force --precision fp32 --out " in message
    assert "\n" not in message


# With the fakes: what ONNX Runtime computes, TensorRTBackend computes by the same graph at the right addresses


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
        content = ctypes.string_at(address, cache_bytes(tensor))
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


def sampler_inputs(rows: int) -> dict[str, NDArray[Any]]:
    logits = np.random.default_rng(rows).standard_normal((rows, 12), dtype=np.float32)
    return {"logits": logits, "temperature": np.array(-2, dtype=np.float32), "shift": np.array(100)}


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


# With the fakes: failures


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


def test_damaged_plan(fakes: Fakes, bundle: Bundle) -> None:
    """TensorRT's own last error is told, its first line only."""
    backend = TensorRTBackend(bundle, "trt-rtx")
    damaged = backend.entries["sampler"].model_copy(update={"file": bundle.manifest.neighbours})
    backend.entries["sampler"] = damaged
    with pytest.raises(BackendError, match=r"neighbours.npy: the plan, built with 0, .* header is damaged$"):
        backend.run("sampler", sampler_inputs(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda engine: engine.aliases.clear(), "new_key_0: expected key_0 updated in place"),
        (lambda engine: engine.NAMES.update({"tensor(float)": "HALF"}), "prefix: expected INPUT float32, got HALF"),
        (lambda engine: engine.outputs.pop("logits"), "not the manifest's: logits"),
    ],
)
def test_plan_that_is_not_what_the_manifest_says(
    fakes: Fakes, bundle: Bundle, change: Callable[[FakeEngine], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "NAMES", dict(FakeEngine.NAMES))

    class Changed(FakeEngine):
        def __init__(self, cuda: FakeCuda, content: bytes) -> None:
            super().__init__(cuda, content)
            change(self)
            self.names = [*self.outputs, *self.inputs]
            self.num_io_tensors = len(self.names)

    monkeypatch.setitem(globals(), "FakeEngine", Changed)
    session = TransformerSession(TensorRTBackend(bundle, "trt-rtx"), bundle.manifest.target, prefix_ids(1))
    with pytest.raises(BackendError, match=rf"target.*\.plan: .*{said}"):
        session.feed(np.array([0]), np.array([0]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logits": np.zeros((1, 12))}, r"logits: expected float32 \['rows', 12\], got float64 \[1, 12\]"),
        ({"shift": np.zeros(1, dtype=np.int64)}, r"shift: expected int64 \[\], got int64 \[1\]"),
        ({"logits": np.zeros((65, 12), dtype=np.float32)}, r"not built for shape \(65, 12\)"),
    ],
)
def test_wrong_inputs(fakes: Fakes, bundle: Bundle, changes: dict[str, NDArray[Any]], said: str) -> None:
    backend = TensorRTBackend(bundle, "trt-rtx")
    with pytest.raises(BackendError, match=said):
        backend.run("sampler", sampler_inputs(1) | changes)


def test_missing_input(fakes: Fakes, bundle: Bundle) -> None:
    with pytest.raises(BackendError, match=r"logits: expected .*, got nothing"):
        TensorRTBackend(bundle, "trt-rtx").run("sampler", {})


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


# With the fakes and the minimal preset, whose ONNX files stand in for its plans: whole decodes

PROFILES: list[dict[str, int]] = [
    {"batch": 2, "fed": 1, "rows": 1},
    {"batch": 2, "fed": 32, "rows": 8},
    {"batch": 2, "fed": 76, "rows": 64},
    {"batch": 16, "fed": 8, "rows": 64},
]
SETTINGS: dict[str, dict[str, Any]] = {
    "ar": {"mode": "ar", "guidance_scale": 3.0, "top_k": 5},
    "parallel": {"mode": "parallel", "neighbours": 4, "tau": 0.2, "anchor": 2.0, "temperature": 0.8, "top_k": 9},
    "exact": {"mode": "exact", "neighbours": 4, "temperature": 0.7},
    "unguided": {"mode": "parallel", "neighbours": 4, "guidance_scale": 1.0, "adaptive_window": True},
}


class Plain:
    """ONNX Runtime without scores of its own: the bundle's graphs sample and judge, as they do on the device."""

    name = "plain"

    def __init__(self, bundle: Bundle) -> None:
        backend = OnnxRuntimeBackend(bundle, 1)
        self.run, self.new_cache, self.feed = backend.run, backend.new_cache, backend.feed
        self.keep_slots = backend.keep_slots


@pytest.fixture(scope="module")
def minimal() -> Bundle:
    path = bundle_path("minimal", "fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32", models="minimal")
    return open_bundle(path)


def with_plans(bundle: Bundle, name: Any, several: bool = True) -> Bundle:
    """Return a bundle whose plans are its ONNX files, with profiles for all that has any."""
    graphs = {}
    for graph, entry in bundle.manifest.graphs.items():
        keys = [key for key in entry.dynamic if key in PROFILES[0]]
        profiles = tuple({key: (1, 1, largest[key]) for key in keys} for largest in PROFILES) if several else ()
        plan = PlanEntry(backend=name, file=entry.onnx, build_seconds=0, version="0", profiles=profiles)
        graphs[graph] = entry.model_copy(update={"plans": (plan,)})
    return dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": graphs}))


@pytest.fixture
def large_fakes(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """The fakes with plans of several profiles."""
    monkeypatch.setattr(FakeEngine, "PROFILES", PROFILES)
    return fakes


def grids(backend: Any, bundle: Bundle, given: dict[str, Any]) -> list[NDArray[np.int64]]:
    """Return the tokens of two images."""
    pipeline = engines.Pipeline(bundle, backend)
    return [pipeline.generate("a red circle", seed=seed, **given).tokens for seed in (1, 2)]


@pytest.mark.parametrize("name", ["trt-rtx", "trt"])
@pytest.mark.parametrize("given", SETTINGS)
def test_decodes(large_fakes: Fakes, minimal: Bundle, given: str, name: str) -> None:
    """Tokens are those of the same graphs on the host, whatever is captured, gathered and given back."""
    bundle = with_plans(minimal, name)
    backend = TensorRTBackend(bundle, name)
    assert isinstance(backend, PoolingBackend)
    for got, want in zip(
        grids(backend, bundle, SETTINGS[given]), grids(Plain(minimal), minimal, SETTINGS[given]), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    assert (large_fakes.cuda.launches > 0) == (name == "trt")
    assert backend.notes == []


def test_logits_do_not_come_to_the_host(large_fakes: Fakes, minimal: Bundle) -> None:
    """A step downloads a token: less than a row of logits for a whole image."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    state = TransformerSession(backend, bundle.manifest.target, np.zeros((2, 12, 5), dtype=np.int64))
    state.prefill()
    noise, cuda = NoiseSource(1, 0, 64, 48), large_fakes.cuda
    row, one = np.zeros(1, dtype=np.int64), engines.Settings(guidance_scale=2.0)
    for cell in range(8):
        scores = state.feed(np.array([cell]), np.array([3]))
        before = cuda.downloaded, cuda.synchronisations
        scores.sample(row, np.array([cell + 1]), one, noise, None)
        assert (cuda.downloaded, cuda.synchronisations) == (before[0] + 8, before[1] + 1)
    scores = state.feed(np.arange(8), np.arange(8))
    before = cuda.downloaded, cuda.synchronisations
    neighbours: NDArray[np.int64] = np.tile(np.arange(48)[:, None], 2)
    for _ in range(2):
        uploaded = cuda.uploaded
        scores.judge(np.arange(1, 7), one, np.arange(6), neighbours, False)
    assert cuda.uploaded - uploaded <= 6 * 8  # the draft: neighbours and settings are there
    assert (cuda.downloaded, cuda.synchronisations) == (before[0] + 2 * 6 * 8, before[1] + 2)


@pytest.mark.parametrize("rows", [[0], [2, 3, 4], [0, 4], [1, 3, 5, 7], [0, 1, 4, 6, 7]])
@pytest.mark.parametrize("batch", [1, 2])
def test_scores_are_those_of_the_logits(
    large_fakes: Fakes, minimal: Bundle, rows: list[int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows side by side, one below the other and scattered; with a table of noise on the device and without."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    state = TransformerSession(backend, bundle.manifest.target, np.zeros((batch, 12, 5), dtype=np.int64))
    first = state.prefill().last()
    scores = state.feed(np.arange(8), np.arange(8) * 2)
    host, asked = HostScores(Plain(minimal), scores.logits()), np.array(rows)
    settings = engines.Settings(guidance_scale=1.5, top_k=20)
    codes = np.random.default_rng(1).standard_normal((48, 4), dtype=np.float32)
    anchor = Anchor(1.0, codes, np.arange(40), 2)
    noise = NoiseSource(3, 0, 64, 48)
    neighbours = minimal.neighbours[:, :4]
    for _ in range(2):
        for towards in (None, anchor):
            sampled = scores.sample(asked, asked + 9, settings, noise, towards)
            np.testing.assert_array_equal(sampled, host.sample(asked, asked + 9, settings, noise, towards))
        monkeypatch.setattr(tensorrt_scores, "MAX_NOISE_BYTES", 0)
    for got, want in zip(
        (
            *scores.draw(asked, settings, noise.rows(asked)),
            *scores.judge(asked, settings, asked, neighbours, False),
            *scores.judge(asked, settings, asked, neighbours, True),
        ),
        (
            *host.draw(asked, settings, noise.rows(asked)),
            *host.judge(asked, settings, asked, neighbours, False),
            *host.judge(asked, settings, asked, neighbours, True),
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)
    kept = first.logits()
    state.feed(np.arange(8, 20), np.arange(12))
    np.testing.assert_array_equal(first.logits(), kept)


def test_decodes_share_passes(large_fakes: Fakes, minimal: Bundle) -> None:
    """Requests of a session draw what they draw alone, in fewer passes."""
    bundle = with_plans(minimal, "trt")
    given = SETTINGS["ar"]
    expected = [engines.Pipeline(minimal, Plain(minimal)).generate("a red circle", seed=n, **given) for n in range(3)]
    pipeline = engines.Pipeline(bundle, TensorRTBackend(bundle, "trt"))
    with pipeline.session(4) as session:
        found = [session.submit("a red circle", seed=n, **given) for n in range(3)]
        for request, want in zip(found, expected, strict=True):
            np.testing.assert_array_equal(request.result().tokens, want.tokens)
        assert session.passes < 2 * 65


def test_more_decodes_than_a_plan_takes(large_fakes: Fakes, minimal: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are shared by as many as fit."""
    profiles = [*PROFILES[:3], PROFILES[3] | {"batch": 4}]
    monkeypatch.setitem(globals(), "PROFILES", profiles)
    monkeypatch.setattr(FakeEngine, "PROFILES", profiles)
    bundle, given = with_plans(minimal, "trt-rtx"), SETTINGS["ar"]
    expected = [engines.Pipeline(minimal, Plain(minimal)).generate("a red circle", seed=n, **given) for n in range(4)]
    pipeline = engines.Pipeline(bundle, TensorRTBackend(bundle, "trt-rtx"))
    found = pipeline.generate(["a red circle"] * 4, list(range(4)), batch=4, **given)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got.tokens, want.tokens)


def test_parts_of_a_shared_pass(large_fakes: Fakes, minimal: Bundle) -> None:
    """A decode's scores outlive a pass that the others have."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    pool = backend.new_pool("target", 4)
    entry = bundle.manifest.target
    inputs: dict[str, NDArray[Any]] = {
        "tokens": np.arange(12).reshape(4, 3),
        "prefix": np.zeros((4, 3, entry.dim), dtype=np.float32),
        "positions": np.tile(np.arange(12, 15), (4, 1)),
        "slot_ranks": np.tile(np.where(np.arange(entry.slots) < 3, np.arange(12, 12 + entry.slots), 10**6), (4, 1)),
        "write_index": np.zeros(4, dtype=np.int64),
    }
    scores = backend.score("target", pool.rows(0, 4), inputs)
    everything, part = scores.logits(), scores.part(2, 2, 2)
    some = {name: value[:2] for name, value in inputs.items()}
    del scores
    alone = backend.score("target", pool.rows(0, 2), some).logits()
    np.testing.assert_array_equal(part.logits(), everything[2:, :2])
    np.testing.assert_allclose(alone, everything[:2], atol=1e-5)
    pool.clear(0, 4)
    with pytest.raises(BackendError, match=r"graph target: tokens: the plan was not built for shape \(4, 9\)"):
        backend.score("target", pool.rows(0, 4), inputs | {"tokens": np.zeros((4, 9), dtype=np.int64)})


def test_plans_without_rows_for_several_decodes(fakes: Fakes, bundle: Bundle) -> None:
    """There is no pool then: each decode has its own passes."""
    assert not isinstance(TensorRTBackend(bundle, "trt-rtx"), PoolingBackend)


def test_a_plan_with_other_profiles(fakes: Fakes, minimal: Bundle) -> None:
    with pytest.raises(BackendError, match=r"expected the manifest's 4 profiles, got 1$"):
        TensorRTBackend(with_plans(minimal, "trt-rtx"), "trt-rtx").run("decoder", {})


# Memory


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
    assert backend.memory()["caches"] == sum(cache_bytes(tensor) for tensor, _ in cache.tensors.values())


# CUDA graphs


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


# Kernels on disk


def run_once(bundle: Bundle) -> None:
    TensorRTBackend(bundle, "trt-rtx").run("sampler", sampler_inputs(1))


def test_kernels_are_kept(fakes: Fakes, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written when the backend goes, named by GPU, version and bundle, and read at the next start."""
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path / "made"))
    run_once(bundle)
    (path,) = (tmp_path / "made" / "kernels").iterdir()
    assert path.name.startswith("A_fake_GPU-1-")
    assert path.read_bytes() == b"kernels."
    run_once(bundle)
    assert path.read_bytes() == b"kernels.."


@pytest.mark.parametrize("content", [b"", b"something else", b"raise"])
def test_kernels_from_outside(
    fakes: Fakes, bundle: Bundle, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged or foreign file is as good as none, and is replaced."""
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path))
    run_once(bundle)
    (path,) = (tmp_path / "kernels").iterdir()
    path.write_bytes(content)
    run_once(bundle)
    assert path.read_bytes() == b"kernels."


def test_kernels_nowhere(fakes: Fakes, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an empty variable nor a folder that cannot be made stops anything."""
    monkeypatch.setenv("MULO_SD_CACHE", "")
    run_once(bundle)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path / "file"))
    run_once(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_kernels_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder({}) == tmp_path / ".cache" / "mulo-sd"
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache" / "mulo-sd"
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "mulo-sd"
    assert cache_folder({"MULO_SD_CACHE": "here", "XDG_CACHE_HOME": str(tmp_path)}) == Path("here")
    assert cache_folder({"MULO_SD_CACHE": ""}) is None


def test_kernel_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In size and number."""
    monkeypatch.setattr(kernel_file, "MAX_BYTES", 10)
    monkeypatch.setattr(kernel_file, "MAX_FILES", 3)
    hashes = [f"{number:016x}" for number in range(5)]
    others = [tmp_path / "kernels" / name for name in ("a-game-of-mine.bin", "x-1.bin", "x-1-0000000000000000.bin.bak")]
    others[0].parent.mkdir()
    for other in others:
        other.write_text("mine")
        os.utime(other, (0, 0))  # older than all
    for name in hashes:
        assert KernelFile(tmp_path, "../x", "1", name).write(b"x" * 10)
    assert [other.read_text() for other in others] == ["mine"] * 3
    files = [path for path in (tmp_path / "kernels").iterdir() if path not in others]
    assert len(files) == 3
    assert not KernelFile(tmp_path, "../x", "1", hashes[4]).write(b"x" * 11)
    files[0].write_bytes(b"x" * 11)
    assert sum(KernelFile(tmp_path, "../x", "1", name).read() is None for name in hashes) == 3

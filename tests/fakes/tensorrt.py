"""A TensorRT without a GPU: an engine is ONNX Runtime on the graph whose bytes a "plan" is.

What passes with it shows the order of calls, the addresses, sizes and shapes; it does not show that TensorRT
builds, loads or runs anything.
"""

import ctypes
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tests.fakes.cuda import ALIGNMENT, FakeCuda


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
        __version__="0",  # that of the plans
    )


class Fakes(NamedTuple):
    cuda: FakeCuda
    trt: SimpleNamespace

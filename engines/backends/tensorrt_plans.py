"""TensorRT's runtime and the plans it has loaded; TensorRT for RTX and TensorRT proper share one Python API."""

import importlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import NUMPY_DTYPES, BackendError, CacheTensor, Tensors, cache_tensors, one_line
from engines.backends.cuda import Cuda, DeviceBuffer
from engines.bundle import GraphEntry, TensorEntry
from engines.bundle.manifest import PlanEntry

MODULES = {"trt-rtx": "tensorrt_rtx", "trt": "tensorrt"}
# TensorRT's names of the manifest's types.
_DTYPES = {"INT64": "int64", "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}


class Resident(NamedTuple):
    """Keys or values of one layer, and the device memory in which they stay."""

    tensor: CacheTensor
    buffer: DeviceBuffer


class Runtime:
    """TensorRT itself: its module, what deserialises plans, and in `errors` the last messages of its log."""

    def __init__(self, name: str) -> None:
        """Start TensorRT.

        Args:
            name: "trt-rtx" or "trt".

        Raises:
            BackendError: a package is not installed, or there is no NVIDIA GPU.
        """
        self.name = name
        self.errors: deque[str] = deque(maxlen=4)
        try:
            self.trt: Any = importlib.import_module(MODULES[name])
        except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
            raise BackendError(
                f"backend {name}: cannot import {MODULES[name]} ({one_line(error)}); "
                f"install it with `pip install 'mulo-sd[{name}]'`"
            ) from None
        self.cuda = Cuda(name)  # before the runtime, which without a GPU only logs errors
        self._logger = self._make_logger()
        try:
            self._runtime = self.trt.Runtime(self._logger)
        except Exception as error:  # its bindings raise TypeError where the library returns nothing
            raise self.error("the runtime does not start", error) from None
        # TensorRT for RTX compiles kernels for this GPU; all plans share what was compiled, in memory.
        self._kernels: Any = None
        self._configs: list[Any] = []

    def _make_logger(self) -> Any:
        trt, errors = self.trt, self.errors

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # the runtime has no type stubs
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    errors.append(message)

        return Logger()

    def error(self, what: str, reason: object = "it gives no reason") -> BackendError:
        """Return the error that says what failed and why: by TensorRT's log, else by `reason`."""
        return BackendError(f"backend {self.name}: {what}: {one_line(self.errors[-1] if self.errors else reason)}")

    def engine(self, path: Path, plan: PlanEntry) -> Any:
        """Deserialise a plan."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendError(f"{path}: cannot read the plan: {error.strerror or error}") from None
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            version = self.trt.__version__
            raise self.error(f"{path}: the plan, built with {plan.version}, does not load in {version} on this GPU")
        return engine

    def context(self, engine: Any, path: Path) -> Any:
        """Return an execution context of an engine."""
        config = engine.create_runtime_config() if self.name == "trt-rtx" else None
        if config is None:
            context = engine.create_execution_context()
        else:
            self._configs.append(config)
            if self._kernels is None:
                self._kernels = config.create_runtime_cache()
            if self._kernels is not None and not config.set_runtime_cache(self._kernels):
                raise self.error(f"{path}: cannot share compiled kernels")
            context = engine.create_execution_context(config)
        if context is None:
            raise self.error(f"{path}: cannot make an execution context")
        return context


class LoadedPlan:
    """One graph: its engine, its only execution context, and device buffers that grow with what passes through."""

    def __init__(self, runtime: Runtime, graph: str, entry: GraphEntry, plan: PlanEntry, path: Path) -> None:
        """Deserialise the plan of a graph.

        Raises:
            BackendError: TensorRT does not accept it, or it is not what the manifest describes.
        """
        self.runtime, self.graph, self.path = runtime, graph, path
        runtime.errors.clear()
        self.engine = runtime.engine(path, plan)
        self.inputs, self.outputs = self._described(entry)
        self.context = runtime.context(self.engine, path)
        self.buffers: dict[str, DeviceBuffer] = {}

    def _described(self, entry: GraphEntry) -> tuple[list[TensorEntry], list[TensorEntry]]:
        """Return the engine's inputs and outputs as the manifest describes them.

        The manifest was written where no plan can be opened, so this is the first place to compare the two.
        """
        engine, modes = self.engine, self.runtime.trt.TensorIOMode
        found = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        # An input that changes nothing may be missing from the engine: it is not fed then.
        inputs = [tensor for tensor in entry.inputs if tensor.name in found]
        tensors = {tensor.name: (tensor, modes.INPUT) for tensor in inputs}
        tensors |= {tensor.name: (tensor, modes.OUTPUT) for tensor in entry.outputs}
        if tensors.keys() != found:
            names = ", ".join(sorted(tensors.keys() ^ found))
            raise BackendError(f"{self.path}: the plan's inputs and outputs are not the manifest's: {names}")
        in_place = {f"new_{tensor.name}": tensor.name for tensor in cache_tensors(entry, 1)}
        for name, (tensor, mode) in tensors.items():
            dtype = engine.get_tensor_dtype(name).name
            if engine.get_tensor_mode(name) != mode or _DTYPES.get(dtype) != tensor.dtype:
                raise BackendError(f"{self.path}: {name}: expected {mode} {tensor.dtype}, got {dtype}")
            if name in in_place:
                if engine.get_aliased_input_tensor(name) != in_place[name]:
                    raise BackendError(f"{self.path}: {name}: expected {in_place[name]} updated in place, got a copy")
            elif tensor.dtype not in NUMPY_DTYPES and name not in in_place.values():
                raise BackendError(f"{self.path}: {name}: expected a type that numpy has, got {tensor.dtype}")
        return inputs, list(entry.outputs)

    def _expect(self, succeeded: bool, what: str) -> None:
        if not succeeded:
            raise self.runtime.error(f"graph {self.graph}: {what}")

    def _room(self, name: str, size_bytes: int) -> int:
        """Return the address of the buffer of an input or output, made or replaced where it is too small."""
        buffer = self.buffers.get(name)
        if buffer is None or buffer.size_bytes < size_bytes:
            if buffer is not None:
                buffer.free()
            buffer = self.buffers[name] = DeviceBuffer(self.runtime.cuda, size_bytes)
        return buffer.address

    def _is_on_host(self, name: str) -> bool:
        """Whether TensorRT wants a tensor in the host's memory, as it does where values decide a shape."""
        return bool(self.engine.get_tensor_location(name) == self.runtime.trt.TensorLocation.HOST)

    def _array(self, tensor: TensorEntry, inputs: Tensors) -> NDArray[Any]:
        """Return an input as an array whose bytes can be copied as they are."""
        value = inputs.get(tensor.name)
        expected = f"graph {self.graph}: {tensor.name}: expected {tensor.dtype} {list(tensor.shape)}"
        if value is None:
            raise BackendError(f"{expected}, got nothing")
        if value.dtype != NUMPY_DTYPES[tensor.dtype] or value.ndim != len(tensor.shape):
            raise BackendError(f"{expected}, got {value.dtype} {list(value.shape)}")
        return np.asarray(value, order="C")

    def execute(self, inputs: Tensors, cache: Mapping[str, Resident]) -> dict[str, NDArray[Any]]:
        """Run the graph once.

        Args:
            inputs: All but keys and values.
            cache: Keys and values by input name; mutated in place.

        Returns:
            The outputs, but for the updated keys and values.

        Raises:
            BackendError: an input is not as the manifest says, or CUDA or TensorRT report a failure.
        """
        cuda, context = self.runtime.cuda, self.context
        self.runtime.errors.clear()
        arrays = {tensor.name: self._array(tensor, inputs) for tensor in self.inputs if tensor.name not in cache}
        for tensor in self.inputs:
            name = tensor.name
            if name in cache:
                shape: tuple[int, ...] = cache[name].tensor.shape
                address = cache[name].buffer.address
            else:
                shape, address = arrays[name].shape, arrays[name].ctypes.data
                if not self._is_on_host(name):
                    address = self._room(name, arrays[name].nbytes)
                    cuda.upload(address, arrays[name])
            self._expect(context.set_input_shape(name, shape), f"{name}: the plan was not built for shape {shape}")
            self._expect(context.set_tensor_address(name, address), f"{name}: cannot set the address")
        outputs = self._place_outputs(cache)
        self._expect(context.execute_async_v3(cuda.stream), "cannot run")
        for name, array in outputs.items():
            if not self._is_on_host(name):
                cuda.download(array, self.buffers[name].address)
        cuda.synchronise()
        return outputs

    def _place_outputs(self, cache: Mapping[str, Resident]) -> dict[str, NDArray[Any]]:
        """Give every output an address, updated keys and values that of their input; return the arrays to fill."""
        try:
            vague = self.context.infer_shapes()
        except RuntimeError as error:
            raise self.runtime.error(f"graph {self.graph}: cannot infer shapes", error) from None
        self._expect(not vague, f"the inputs leave the shapes of {', '.join(vague)} open")
        outputs: dict[str, NDArray[Any]] = {}
        for tensor in self.outputs:
            name = tensor.name
            source = cache.get(name.removeprefix("new_"))
            if source is not None:
                address = source.buffer.address
            else:
                shape = tuple(self.context.get_tensor_shape(name))
                self._expect(all(size >= 0 for size in shape), f"{name}: expected a known shape, got {shape}")
                array = outputs[name] = np.empty(shape, dtype=NUMPY_DTYPES[tensor.dtype])
                address = array.ctypes.data if self._is_on_host(name) else self._room(name, array.nbytes)
            self._expect(self.context.set_tensor_address(name, address), f"{name}: cannot set the address")
        return outputs

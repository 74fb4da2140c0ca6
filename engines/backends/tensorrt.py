"""TensorRT, for RTX and proper: runs a bundle's plans on an NVIDIA GPU, where keys and values stay."""

import importlib
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import NUMPY_DTYPES, BackendError, CacheTensor, KVCache, Tensors, cache_tensors
from engines.backends.cuda import Cuda, DeviceBuffer
from engines.bundle import Bundle, GraphEntry, TensorEntry
from engines.bundle.manifest import MANIFEST_NAME, PlanEntry

MODULES = {"trt-rtx": "tensorrt_rtx", "trt": "tensorrt"}
ITEM_BYTES = {"int64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
# TensorRT's names of the manifest's types.
_DTYPES = {"INT64": "int64", "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}


class SlotRun(NamedTuple):
    """`count` consecutive slots from `source` on that move to `destination` and on."""

    source: int
    destination: int
    count: int


def slot_runs(slots: NDArray[np.int64]) -> list[SlotRun]:
    """Merge the slots to keep, ascending, into runs; no destination lies after its source.

    Raises:
        ValueError: the slots are not ascending, or not at least 0.
    """
    steps = np.diff(slots, prepend=-1)
    if (steps < 1).any():
        raise ValueError("slots: expected ascending numbers, each at least 0")
    starts = np.flatnonzero(steps > 1) if len(slots) and slots[0] > 0 else np.flatnonzero(np.diff(slots, prepend=-2) > 1)
    ends = [*starts[1:].tolist(), len(slots)]
    return [SlotRun(int(slots[start]), start, end - start) for start, end in zip(starts.tolist(), ends, strict=True)]


def cache_bytes(tensor: CacheTensor) -> int:
    """Return how much memory keys or values take; by bytes, since numpy has no bfloat16."""
    return int(np.prod(tensor.shape)) * ITEM_BYTES[tensor.dtype]


@dataclass
class TensorRTCache:
    """Keys and values by input name, on the device; freed with the object."""

    batch: int
    tensors: dict[str, CacheTensor]
    buffers: dict[str, DeviceBuffer]


class _Runtime:
    """TensorRT itself: its module, its logger and what deserialises plans; `errors` holds its last messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: deque[str] = deque(maxlen=4)
        try:
            self.trt: Any = importlib.import_module(MODULES[name])
        except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
            raise BackendError(
                f"backend {name}: cannot import {MODULES[name]} ({str(error).splitlines()[0]}); "
                f"install it with `pip install 'mulo-sd[{name}]'`"
            ) from None
        self.cuda = Cuda(name)
        self._logger = self._make_logger()
        try:
            self._runtime = self.trt.Runtime(self._logger)
        except Exception as error:  # TypeError from its bindings where the library returns nothing
            raise BackendError(self.message("its runtime does not start", str(error))) from None
        # TensorRT for RTX compiles kernels for this GPU when a context is made; graphs share them, in memory.
        self._kernels: Any = None

    def _make_logger(self) -> Any:
        trt, errors = self.trt, self.errors

        class Logger(trt.ILogger):  # type: ignore[misc]  # the runtime has no type stubs
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    errors.append(message)

        return Logger()

    def message(self, what: str, reason: str = "") -> str:
        """Return one line that says what failed and, as far as known, why."""
        reason = self.errors[-1] if self.errors else reason
        return f"backend {self.name}: {what}" + (f": {reason.splitlines()[0]}" if reason.strip() else "")

    def engine(self, path: Path, plan: PlanEntry) -> Any:
        """Deserialise a plan."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendError(f"{path}: cannot read the plan: {error.strerror or error}") from None
        self.errors.clear()
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            what = f"{path}: the plan, built with {plan.version}, does not load in {self.trt.__version__} on this GPU"
            raise BackendError(self.message(what))
        return engine

    def context(self, engine: Any, path: Path) -> Any:
        """Return an execution context of an engine."""
        self.errors.clear()
        config = engine.create_runtime_config()
        if config is not None and hasattr(config, "create_runtime_cache"):  # TensorRT for RTX only
            if self._kernels is None:
                self._kernels = config.create_runtime_cache()
            if self._kernels is not None and not config.set_runtime_cache(self._kernels):
                raise BackendError(self.message(f"{path}: cannot set the runtime cache"))
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None:
            raise BackendError(self.message(f"{path}: cannot make an execution context"))
        return context


class _Plan:
    """One graph: its engine, its only execution context, and device buffers that grow with what passes through."""

    def __init__(self, runtime: _Runtime, graph: str, entry: GraphEntry, plan: PlanEntry, path: Path) -> None:
        self.runtime, self.graph = runtime, graph
        self.engine = runtime.engine(path, plan)
        self._check_engine(entry, path)
        self.context = runtime.context(self.engine, path)
        self.buffers: dict[str, DeviceBuffer] = {}

    def _check_engine(self, entry: GraphEntry, path: Path) -> None:
        """Compare the engine with the manifest, which is all that could be read without a GPU."""
        modes = self.runtime.trt.TensorIOMode
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        found = {
            mode: {name for name in names if self.engine.get_tensor_mode(name) == mode}
            for mode in (modes.INPUT, modes.OUTPUT)
        }
        # An input that does not matter may be missing; it is not fed then.
        self.inputs = [tensor for tensor in entry.inputs if tensor.name in found[modes.INPUT]]
        self.outputs = list(entry.outputs)
        known = {tensor.name for tensor in (*self.inputs, *self.outputs)}
        if known != set(names) or {tensor.name for tensor in self.outputs} != found[modes.OUTPUT]:
            raise BackendError(f"{path}: the plan's inputs and outputs are not the manifest's: {', '.join(names)}")
        for tensor in (*self.inputs, *self.outputs):
            dtype = str(self.engine.get_tensor_dtype(tensor.name).name)
            if _DTYPES.get(dtype) != tensor.dtype:
                raise BackendError(f"{path}: {tensor.name}: expected {tensor.dtype}, got {dtype}")
        for tensor in cache_tensors(entry, 1):
            source = self.engine.get_aliased_input_tensor(f"new_{tensor.name}")
            if source != tensor.name:
                raise BackendError(
                    f"{path}: new_{tensor.name}: expected {tensor.name} updated in place, got a tensor of its own"
                )

    def _expect(self, succeeded: bool, what: str) -> None:
        if not succeeded:
            raise BackendError(self.runtime.message(f"graph {self.graph}: {what}"))

    def _room(self, name: str, size_bytes: int) -> int:
        """Return the address of the buffer of an input or output, made or replaced where it is too small."""
        buffer = self.buffers.get(name)
        if buffer is None or buffer.size_bytes < size_bytes:
            if buffer is not None:
                buffer.free()
            buffer = self.buffers[name] = DeviceBuffer(self.runtime.cuda, size_bytes)
        return buffer.address

    def _on_host(self, name: str) -> bool:
        """Whether TensorRT reads a tensor on the host: one that decides a shape."""
        return bool(self.engine.get_tensor_location(name) == self.runtime.trt.TensorLocation.HOST)

    def _checked(self, tensor: TensorEntry, inputs: Tensors) -> NDArray[Any]:
        value = inputs.get(tensor.name)
        if value is None:
            raise BackendError(f"graph {self.graph}: {tensor.name}: the input is missing")
        if value.dtype != NUMPY_DTYPES.get(tensor.dtype) or value.ndim != len(tensor.shape):
            raise BackendError(
                f"graph {self.graph}: {tensor.name}: expected {tensor.dtype} of {len(tensor.shape)} dimensions, "
                f"got {value.dtype} {value.shape}"
            )
        return np.asarray(value, order="C")

    def execute(self, inputs: Tensors, cache: TensorRTCache | None = None) -> dict[str, NDArray[Any]]:
        """Run the graph once and return its outputs; keys and values stay in the cache's buffers."""
        cuda, context = self.runtime.cuda, self.context
        self.runtime.errors.clear()
        buffers: Mapping[str, DeviceBuffer] = cache.buffers if cache else {}
        values: dict[str, NDArray[Any]] = {}  # they must live until the stream is done
        for tensor in self.inputs:
            name = tensor.name
            if cache and name in buffers:
                shape: tuple[int, ...] = cache.tensors[name].shape
                address = buffers[name].address
            else:
                value = values[name] = self._checked(tensor, inputs)
                shape = value.shape
                if self._on_host(name):
                    address = value.ctypes.data
                else:
                    address = self._room(name, value.nbytes)
                    cuda.upload(address, value)
            self._expect(context.set_input_shape(name, shape), f"{name}: the plan was not built for shape {shape}")
            self._expect(context.set_tensor_address(name, address), f"{name}: cannot set its address")
        outputs = self._place_outputs(buffers)
        self._expect(context.execute_async_v3(cuda.stream), "cannot run")
        for name, array in outputs.items():
            if not self._on_host(name):
                cuda.download(array, self.buffers[name].address)
        cuda.synchronise()
        return outputs

    def _place_outputs(self, buffers: Mapping[str, DeviceBuffer]) -> dict[str, NDArray[Any]]:
        """Give every output its address, an updated cache that of its input; return arrays to fill."""
        try:
            vague = self.context.infer_shapes()
        except RuntimeError as error:
            raise BackendError(self.runtime.message(f"graph {self.graph}: cannot infer shapes", str(error))) from None
        self._expect(not vague, f"the inputs leave these shapes open: {', '.join(vague)}")
        outputs: dict[str, NDArray[Any]] = {}
        for tensor in self.outputs:
            name = tensor.name
            if name.removeprefix("new_") in buffers:
                address = buffers[name.removeprefix("new_")].address
            else:
                shape = tuple(self.context.get_tensor_shape(name))
                self._expect(min(shape, default=0) >= 0 and tensor.dtype in NUMPY_DTYPES, f"{name}: shape {shape}")
                array = outputs[name] = np.empty(shape, dtype=NUMPY_DTYPES[tensor.dtype])
                address = array.ctypes.data if self._on_host(name) else self._room(name, array.nbytes)
            self._expect(self.context.set_tensor_address(name, address), f"{name}: cannot set its address")
        return outputs


class TensorRTBackend:
    """Runs a bundle's plans; one pass at a time, since an execution context is not reentrant."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        """Start the runtime; a plan is deserialised when its graph is first used.

        Args:
            bundle: Opened and checked.
            name: "trt-rtx" or "trt".

        Raises:
            BackendError: the runtime is not installed, there is no NVIDIA GPU, or the bundle has no plans for it.
        """
        self.bundle, self.name = bundle, name
        self.lock = threading.Lock()
        self.runtime = _Runtime(name)
        self.entries = {
            graph: plan
            for graph, entry in bundle.manifest.graphs.items()
            for plan in entry.plans
            if plan.backend == name
        }
        missing = sorted(bundle.manifest.graphs.keys() - self.entries.keys())
        if missing:
            raise BackendError(
                f"{bundle.path / MANIFEST_NAME}: no plan for {name} of {', '.join(missing)}; build the bundle again with "
                f"`python -m export.build --backend {name} --force --precision {bundle.manifest.precision}`"
            )
        self.plans: dict[str, _Plan] = {}

    def _plan(self, graph: str) -> _Plan:
        if graph not in self.plans:
            plan = self.entries[graph]
            entry = self.bundle.manifest.graphs[graph]
            self.plans[graph] = _Plan(self.runtime, graph, entry, plan, self.bundle.file(plan.file))
        return self.plans[graph]

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        with self.lock:
            self.runtime.cuda.use()
            return self._plan(graph).execute(inputs)

    def new_cache(self, graph: str, batch: int) -> TensorRTCache:
        """Return zeroed keys and values on the device."""
        cuda = self.runtime.cuda
        tensors = {tensor.name: tensor for tensor in cache_tensors(self.bundle.manifest.graphs[graph], batch)}
        with self.lock:
            cuda.use()
            buffers = {}
            for name, tensor in tensors.items():
                # Zeroed: attention gives unwritten slots the weight 0, but 0 times NaN is NaN.
                buffers[name] = DeviceBuffer(cuda, cache_bytes(tensor))
                cuda.clear(buffers[name].address, cache_bytes(tensor))
            cuda.synchronise()
        return TensorRTCache(batch, tensors, buffers)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass; input and output of every key and value are one buffer, which the plan updates in place."""
        assert isinstance(cache, TensorRTCache)
        slots = next(iter(cache.tensors.values())).shape[2]
        end = int(inputs["write_index"].max()) + inputs["tokens"].shape[1]
        if end > slots:  # the GPU would write over whatever lies behind
            raise BackendError(f"graph {graph}: expected writes into {slots} slots, got one that ends at {end}")
        with self.lock:
            self.runtime.cuda.use()
            logits: NDArray[np.float32] = self._plan(graph).execute(inputs, cache)["logits"]
        return logits

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front, on the device."""
        assert isinstance(cache, TensorRTCache)
        runs = [run for run in slot_runs(slots) if run.source != run.destination]
        if not runs:
            return
        with self.lock:
            self.runtime.cuda.use()
            moved = sum(run.count for run in runs)
            largest = max(cache_bytes(tensor) // tensor.shape[2] for tensor in cache.tensors.values())
            with DeviceBuffer(self.runtime.cuda, largest * moved) as scratch:
                for name, tensor in cache.tensors.items():
                    self._compact(tensor, cache.buffers[name].address, runs, scratch.address)
                self.runtime.cuda.synchronise()

    def _compact(self, tensor: CacheTensor, address: int, runs: list[SlotRun], scratch: int) -> None:
        """Gather the runs in `scratch`, then put them back as one: source and destination may overlap."""
        batch, heads, slots, head_dim = tensor.shape
        if runs[-1].source + runs[-1].count > slots:
            raise ValueError(f"slots: expected numbers below {slots}, got {runs[-1].source + runs[-1].count - 1}")
        slot_bytes = head_dim * ITEM_BYTES[tensor.dtype]
        # Once a run moves, all later ones do, and their destinations follow one another without a gap.
        first, pitch = runs[0].destination, slots * slot_bytes
        packed = sum(run.count for run in runs) * slot_bytes
        copy = self.runtime.cuda.copy_rows
        for run in runs:
            place = scratch + (run.destination - first) * slot_bytes
            copy(place, packed, address + run.source * slot_bytes, pitch, run.count * slot_bytes, batch * heads)
        copy(address + first * slot_bytes, pitch, scratch, packed, packed, batch * heads)

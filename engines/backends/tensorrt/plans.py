"""Loaded plans: TensorRT's engine of each, a context for every profile, and buffers for inputs and outputs."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.caches import NUMPY_DTYPES, cache_tensors
from mulo_sd.engines.backends.tensorrt.activations import Activations
from mulo_sd.engines.backends.tensorrt.captures import Captures
from mulo_sd.engines.backends.tensorrt.context import Bindings, Context
from mulo_sd.engines.backends.tensorrt.cuda import DeviceBuffer
from mulo_sd.engines.backends.tensorrt.runtime import Runtime
from mulo_sd.engines.bundle import Bundle, GraphEntry, TensorEntry
from mulo_sd.engines.bundle.contract import updated_cache
from mulo_sd.engines.bundle.entries import PlanEntry

# TensorRT's names of the manifest's types.
_DTYPES = {"INT64": "int64", "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
# Settings, write indices and the like: so small that it is cheaper to compare them than to copy them again.
SMALL_BYTES = 64

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Placed(NamedTuple):
    """A tensor on the device."""

    shape: tuple[int, ...]
    address: int


class LoadedPlan:
    """One graph: its engine, which holds the weights once, and device buffers that grow with what passes through."""

    def __init__(
        self, runtime: Runtime, activations: Activations, graph: str, entry: GraphEntry, plan: PlanEntry, path: Path
    ) -> None:
        """Deserialise the plan of a graph.

        Raises:
            BackendError: TensorRT does not accept it, or it is not what the manifest describes.
        """
        self.runtime, self.activations, self.graph, self.path = runtime, activations, graph, path
        runtime.errors.clear()
        self.engine = runtime.engine(path, plan)
        self.weight_bytes = runtime.weight_bytes(self.engine) or plan.file.size_bytes
        self.profiles = plan.profiles or (entry.dynamic,)
        if plan.profiles and self.engine.num_optimization_profiles != len(plan.profiles):
            count = self.engine.num_optimization_profiles
            raise BackendError(f"{path}: expected the manifest's {len(plan.profiles)} profiles, got {count}")
        self.in_place = {updated_cache(tensor.name): tensor.name for tensor in cache_tensors(entry, 1)}
        self.inputs, self.outputs = self._described(entry)
        self.dimensions = {tensor.name: tensor.shape for tensor in self.inputs}
        locations = runtime.trt.TensorLocation
        tensors = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        # TensorRT wants a tensor in the host's memory where values decide a shape.
        self.on_host = {name for name in tensors if self.engine.get_tensor_location(name) == locations.HOST}
        self.contexts: dict[int, Context] = {}
        self.buffers: dict[str, DeviceBuffer] = {}
        self.small: dict[str, bytes] = {}  # what lies in the buffers of small inputs
        self.output_shapes: dict[tuple[int, Shapes], dict[str, tuple[int, ...]]] = {}
        # TensorRT for RTX captures by itself.
        self.captures = Captures(runtime, graph) if runtime.name == "trt" and not self.on_host else None

    def _described(self, entry: GraphEntry) -> tuple[list[TensorEntry], list[TensorEntry]]:
        """Return the engine's inputs and outputs as the manifest describes them.

        The manifest was written where no plan can be opened, so this is the first place to compare the two.
        """
        engine, modes = self.engine, self.runtime.trt.TensorIOMode
        engine_names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        # An input that changes nothing may be missing from the engine: it is not fed then.
        inputs = [tensor for tensor in entry.inputs if tensor.name in engine_names]
        tensors = {tensor.name: (tensor, modes.INPUT) for tensor in inputs}
        tensors |= {tensor.name: (tensor, modes.OUTPUT) for tensor in entry.outputs}
        if tensors.keys() != engine_names:
            names = ", ".join(sorted(tensors.keys() ^ engine_names))
            raise BackendError(f"{self.path}: the plan's inputs and outputs are not the manifest's: {names}")
        for name, (tensor, mode) in tensors.items():
            dtype = engine.get_tensor_dtype(name).name
            if engine.get_tensor_mode(name) != mode or _DTYPES.get(dtype) != tensor.dtype:
                raise BackendError(f"{self.path}: {name}: expected {mode} {tensor.dtype}, got {dtype}")
            if name in self.in_place:
                source = self.in_place[name]
                if engine.get_aliased_input_tensor(name) != source:
                    raise BackendError(f"{self.path}: {name}: expected {source} updated in place, got a copy")
            elif tensor.dtype not in NUMPY_DTYPES and name not in self.in_place.values():
                raise BackendError(f"{self.path}: {name}: expected a type that numpy has, got {tensor.dtype}")
        return inputs, list(entry.outputs)

    def _room(self, name: str, size_bytes: int) -> int:
        """Return the address of the buffer of an input or output, made or replaced where it is too small."""
        buffer = self.buffers.get(name)
        if buffer is None or buffer.size_bytes < size_bytes:
            if buffer is not None:
                buffer.free()
            self.small.pop(name, None)
            buffer = self.buffers[name] = DeviceBuffer(self.runtime.cuda, size_bytes)
        return buffer.address

    def _array(self, tensor: TensorEntry, value: NDArray[Any] | None) -> NDArray[Any]:
        """Return an input as an array whose bytes can be copied as they are."""
        expected = f"graph {self.graph}: {tensor.name}: expected {tensor.dtype} {list(tensor.shape)}"
        if value is None:
            raise BackendError(f"{expected}, got nothing")
        if value.dtype != NUMPY_DTYPES[tensor.dtype] or value.ndim != len(tensor.shape):
            raise BackendError(f"{expected}, got {value.dtype} {list(value.shape)}")
        return np.asarray(value, order="C")

    def profile(self, shapes: Shapes) -> int:
        """Return the first profile that holds the shapes of some inputs.

        Raises:
            BackendError: none does.
        """
        outside: list[tuple[str, tuple[int, ...]]] = []
        for number, ranges in enumerate(self.profiles):
            outside = [(name, shape) for name, shape in shapes if not self._fits(name, shape, ranges)]
            if not outside:
                return number
        name, shape = outside[0]
        raise self.runtime.error(f"graph {self.graph}: {name}: the plan was not built for shape {shape}")

    def _fits(self, name: str, shape: tuple[int, ...], ranges: Mapping[str, tuple[int, int, int]]) -> bool:
        for size, dimension in zip(shape, self.dimensions[name], strict=True):
            if isinstance(dimension, str) and dimension in ranges:
                smallest, _, largest = ranges[dimension]
                if not smallest <= size <= largest:
                    return False
        return True

    def _new_context(self, profile: int) -> Context:
        return Context(self.runtime, self.activations, self.engine, profile, self.graph, self.path)

    def _context(self, profile: int) -> Context:
        """Return the context of a profile; one whose memory has been replaced is made anew."""
        context = self.contexts.get(profile)
        if context is None or context.generation != self.activations.generation:
            self.contexts.pop(profile, None)
            # Of the largest profile: TensorRT asks for as much with any.
            self.activations.make_room(int(self.engine.device_memory_size_v2))
            context = self.contexts[profile] = self._new_context(profile)
        return context

    def _upload(self, name: str, array: NDArray[Any]) -> int:
        """Return the address of an input's content: on the device, unless TensorRT wants it on the host."""
        if name in self.on_host:
            return int(array.ctypes.data)
        address = self._room(name, array.nbytes)
        if array.nbytes > SMALL_BYTES:
            self.small.pop(name, None)
            self.runtime.cuda.upload(address, array)
        elif self.small.get(name) != (content := array.tobytes()):
            self.runtime.cuda.upload(address, array)
            self.small[name] = content
        return address

    def _output_shapes(self, profile: int, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all outputs but updated keys and values, which TensorRT is asked for once."""
        known = self.output_shapes.get((profile, shapes))
        if known is None:
            context = self._context(profile)
            context.set_shapes(shapes)
            context.infer()
            names = [tensor.name for tensor in self.outputs if tensor.name not in self.in_place]
            known = {name: context.output_shape(name) for name in names}
            if not self.on_host:
                self.output_shapes[profile, shapes] = known
            if self.runtime.kernels is not None:
                self.runtime.kernels.grew()
        return known

    def execute(
        self,
        inputs: Mapping[str, NDArray[Any] | Placed],
        destinations: Mapping[str, int] | None = None,
        wanted: Collection[str] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run the graph once.

        Args:
            inputs: Arrays, or tensors on the device; keys and values are on the device and are updated in place.
            destinations: Device addresses for outputs that do not go into buffers of this plan.
            wanted: Outputs to copy to the host; None is all without a destination. With an empty one, the call returns
                before the run is done.

        Returns:
            The wanted outputs.

        Raises:
            BackendError: an input is not as the manifest says, or CUDA or TensorRT report a failure.
        """
        cuda, destinations = self.runtime.cuda, destinations or {}
        self.runtime.errors.clear()
        values: dict[str, NDArray[Any] | Placed] = {}
        for tensor in self.inputs:
            value = inputs.get(tensor.name)
            values[tensor.name] = value if isinstance(value, Placed) else self._array(tensor, value)
        shapes = tuple((name, value.shape) for name, value in values.items())
        profile = self.profile(shapes)
        addresses = {
            name: value.address if isinstance(value, Placed) else self._upload(name, value)
            for name, value in values.items()
        }
        if self.on_host:  # their addresses come first: TensorRT reads them to infer shapes
            self._context(profile).set_shapes(shapes)
            self._context(profile).set_addresses(tuple(addresses.items()))
        output_shapes = self._output_shapes(profile, shapes)
        names = output_shapes.keys() - destinations.keys() if wanted is None else set(wanted)
        arrays = self._host_arrays(output_shapes, names)
        self._place_outputs(addresses, arrays, output_shapes, destinations)
        self._run(Bindings(profile, shapes, tuple(addresses.items())))
        for name, array in arrays.items():
            if name not in self.on_host:
                cuda.download(array, addresses[name])
        if arrays:
            cuda.synchronise()
        return arrays

    def _host_arrays(self, shapes: Mapping[str, tuple[int, ...]], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        """Return new arrays for the outputs that are wanted, or that TensorRT writes to the host."""
        return {
            tensor.name: np.empty(shapes[tensor.name], dtype=NUMPY_DTYPES[tensor.dtype])
            for tensor in self.outputs
            if tensor.name not in self.in_place and (tensor.name in wanted or tensor.name in self.on_host)
        }

    def _place_outputs(
        self,
        addresses: dict[str, int],
        arrays: Mapping[str, NDArray[Any]],
        shapes: Mapping[str, tuple[int, ...]],
        destinations: Mapping[str, int],
    ) -> None:
        """Add the outputs' addresses to the inputs': in place, on the host, at a destination, or in a buffer."""
        for tensor in self.outputs:
            name = tensor.name
            if name in self.in_place:
                addresses[name] = addresses[self.in_place[name]]
            elif name in self.on_host:
                addresses[name] = arrays[name].ctypes.data
            elif name in destinations:
                addresses[name] = destinations[name]
            else:
                count = int(np.prod(shapes[name], dtype=np.int64))
                addresses[name] = self._room(name, count * np.dtype(NUMPY_DTYPES[tensor.dtype]).itemsize)

    def _run(self, bindings: Bindings) -> None:
        context = self._context(bindings.profile)
        captures, generation = self.captures, self.activations.generation
        if captures and captures.run(bindings, generation, lambda: self._new_context(bindings.profile)):
            return
        context.bind(bindings)
        context.execute()


class Plans:
    """A bundle's plans, of which each is loaded when it is first used; they compute in the same memory."""

    def __init__(self, runtime: Runtime, bundle: Bundle, entries: Mapping[str, PlanEntry]) -> None:
        """Remember the plans' entries by graph."""
        self.runtime, self.bundle, self.entries = runtime, bundle, entries
        self.activations = Activations(runtime.cuda)
        self.loaded: dict[str, LoadedPlan] = {}

    def of(self, graph: str) -> LoadedPlan:
        """Return a graph's plan; one thread at a time may ask.

        Raises:
            BackendError: it does not load.
        """
        if graph not in self.loaded:
            plan, entry = self.entries[graph], self.bundle.manifest.graphs[graph]
            path = self.bundle.file(plan.file)
            self.loaded[graph] = LoadedPlan(self.runtime, self.activations, graph, entry, plan, path)
        return self.loaded[graph]

"""An execution context, with the shapes and addresses that were last set in it."""

from pathlib import Path
from typing import Any, NamedTuple

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.tensorrt.activations import Activations
from mulo_sd.engines.backends.tensorrt.runtime import Runtime


class Bindings(NamedTuple):
    """What one run is bound to: the profile, the inputs' shapes, and the addresses of all inputs and outputs."""

    profile: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    addresses: tuple[tuple[str, int], ...]


class Context:
    """An execution context for one profile of a plan; its activations lie in the bundle's shared memory."""

    def __init__(
        self, runtime: Runtime, activations: Activations, engine: Any, profile: int, graph: str, path: Path
    ) -> None:
        """Make the context in the shared memory, which is large enough and does not grow while it is used.

        Raises:
            BackendError: TensorRT does not make it.
        """
        self.runtime, self.graph = runtime, graph
        self.generation = activations.generation
        self.context = runtime.context(engine, path)
        stream = runtime.cuda.stream
        self._expect(self.context.set_optimization_profile_async(profile, stream), f"cannot take profile {profile}")
        buffer = activations.buffer
        if buffer is not None:
            self.context.set_device_memory(buffer.address, buffer.size_bytes)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def error(self, failure: str, reason: object = "it gives no reason") -> BackendError:
        """Return an error that names the graph."""
        return self.runtime.error(f"graph {self.graph}: {failure}", reason)

    def _expect(self, succeeded: bool, failure: str) -> None:
        if not succeeded:
            raise self.error(failure)

    def set_shapes(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
        """Set the shapes that have changed."""
        for name, shape in shapes:
            if self.shapes.get(name) != shape:
                self.shapes.pop(name, None)
                accepted = self.context.set_input_shape(name, shape)
                self._expect(accepted, f"{name}: the plan was not built for shape {shape}")
                self.shapes[name] = shape

    def set_addresses(self, addresses: tuple[tuple[str, int], ...]) -> None:
        """Set the addresses that have changed."""
        for name, address in addresses:
            if self.addresses.get(name) != address:
                self._expect(self.context.set_tensor_address(name, address), f"{name}: cannot set the address")
                self.addresses[name] = address

    def bind(self, bindings: Bindings) -> None:
        """Set all shapes and addresses."""
        self.set_shapes(bindings.shapes)
        self.set_addresses(bindings.addresses)

    def output_shape(self, name: str) -> tuple[int, ...]:
        """Return an output's shape for the input shapes that were set."""
        shape = tuple(self.context.get_tensor_shape(name))
        self._expect(all(size >= 0 for size in shape), f"{name}: expected a known shape, got {shape}")
        return shape

    def infer(self) -> None:
        """Let TensorRT infer the outputs' shapes."""
        try:
            undetermined = self.context.infer_shapes()
        except RuntimeError as error:
            raise self.error("cannot infer shapes", error) from None
        self._expect(not undetermined, f"the inputs leave the shapes of {', '.join(undetermined)} open")

    def execute(self) -> None:
        """Enqueue a run on the stream."""
        self._expect(self.context.execute_async_v3(self.runtime.cuda.stream), "cannot run")

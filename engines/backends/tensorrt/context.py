"""An execution context, and what it was last told."""

from pathlib import Path
from typing import Any, NamedTuple

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.tensorrt.activations import Activations
from mulo_sd.engines.backends.tensorrt.runtime import Runtime


class Layout(NamedTuple):
    """One run: the profile, and every input's name, shape and address and every output's name and address."""

    profile: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    addresses: tuple[tuple[str, int], ...]


class Context:
    """An execution context for one profile of a plan; its activations lie in the bundle's shared memory."""

    def __init__(
        self, runtime: Runtime, activations: Activations, engine: Any, profile: int, graph: str, path: Path
    ) -> None:
        """Make the context; the shared memory is large enough for it, and does not grow while it is used.

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

    def error(self, what: str, reason: object = "it gives no reason") -> BackendError:
        """Return the error that names the graph."""
        return self.runtime.error(f"graph {self.graph}: {what}", reason)

    def _expect(self, succeeded: bool, what: str) -> None:
        if not succeeded:
            raise self.error(what)

    def tell_shapes(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
        """Set the shapes that are not as they were."""
        for name, shape in shapes:
            if self.shapes.get(name) != shape:
                self.shapes.pop(name, None)
                accepted = self.context.set_input_shape(name, shape)
                self._expect(accepted, f"{name}: the plan was not built for shape {shape}")
                self.shapes[name] = shape

    def tell_addresses(self, addresses: tuple[tuple[str, int], ...]) -> None:
        """Set the addresses that are not as they were."""
        for name, address in addresses:
            if self.addresses.get(name) != address:
                self._expect(self.context.set_tensor_address(name, address), f"{name}: cannot set the address")
                self.addresses[name] = address

    def tell(self, layout: Layout) -> None:
        """Set all shapes and addresses."""
        self.tell_shapes(layout.shapes)
        self.tell_addresses(layout.addresses)

    def output_shape(self, name: str) -> tuple[int, ...]:
        """Return an output's shape for the shapes that were told."""
        shape = tuple(self.context.get_tensor_shape(name))
        self._expect(all(size >= 0 for size in shape), f"{name}: expected a known shape, got {shape}")
        return shape

    def infer(self) -> None:
        """Let TensorRT find the outputs' shapes."""
        try:
            vague = self.context.infer_shapes()
        except RuntimeError as error:
            raise self.error("cannot infer shapes", error) from None
        self._expect(not vague, f"the inputs leave the shapes of {', '.join(vague)} open")

    def execute(self) -> None:
        """Put a run on the stream."""
        self._expect(self.context.execute_async_v3(self.runtime.cuda.stream), "cannot run")

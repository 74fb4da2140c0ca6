"""A backend around another, in everything as that one is: what listens or gets something wrong overrides a method."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, KVCache, Tensors


class WrappedBackend:
    """Another backend in everything but its own scores: whatever is sampled and judged passes through `run`."""

    name = "mutant"

    def __init__(self, right: Backend) -> None:
        self.right = right

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return self.right.run(graph, inputs)

    def new_cache(self, graph: str, batch: int) -> KVCache:
        return self.right.new_cache(graph, batch)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        return self.right.feed(graph, cache, inputs)

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        self.right.keep_slots(graph, cache, slots)

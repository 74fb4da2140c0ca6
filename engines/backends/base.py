"""What a backend offers: stateless graphs, and transformer passes over a KV cache that it owns."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# Arrays of int64 or float32, whatever the precision inside.
Tensors = Mapping[str, NDArray[Any]]


class BackendError(RuntimeError):
    """A backend that cannot be used here; its message is one line that says why and what to do."""


@runtime_checkable
class KVCache(Protocol):
    """A handle to the keys and values of one decode with one model; only its backend looks inside."""

    batch: int


class Backend(Protocol):
    """Runs the graphs of one bundle. All arrays are numpy, all randomness comes in as noise."""

    name: str

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a graph that keeps no state and return its outputs by name."""

    def new_cache(self, graph: str, batch: int) -> KVCache:
        """Return empty keys and values for `batch` rows of a transformer's graph."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass of a transformer, writing keys and values into `cache`; return logits, Float32[B, T, V].

        Args:
            graph: The transformer's graph.
            cache: From `new_cache`; mutated.
            inputs: tokens Int[B, T], prefix Float32[B, T, dim], positions Int[B, T], slot_ranks Int[B, C] and
                write_index Int[B], as export.graphs.transformer defines them.
        """

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Compact: move the given slots, ascending, to the front of the cache."""

"""What a backend offers: stateless graphs, and transformer passes over a KV cache that it owns."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle.manifest import GraphEntry

if TYPE_CHECKING:
    from mulo_sd.engines.scores import PartedScores, Scores

# Arrays of int64 or float32, whatever the precision inside.
Tensors = Mapping[str, NDArray[Any]]
# The manifest's types that numpy has; bfloat16 it has not.
NUMPY_DTYPES: Mapping[str, type[np.generic]] = {"int64": np.int64, "float32": np.float32, "float16": np.float16}


# What a backend may support: the modes, guidance (two rows at once), more than one drafter, latent samplers.
CAPABILITIES = ("ar", "zipar", "serial", "parallel", "exact", "guidance", "cascade", "latent")


class BackendError(RuntimeError):
    """A backend that cannot be used here; its message is one line that says why and what to do."""


def one_line(error: object) -> str:
    """Return the first line of an error's text, or its type's name where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class CacheTensor(NamedTuple):
    """The keys, or the values, of one layer: input `name`, which the graph returns updated as `new_<name>`."""

    name: str
    shape: tuple[int, int, int, int]  # B, heads, slots, head_dim
    dtype: str


def cache_tensors(graph: GraphEntry, batch: int) -> list[CacheTensor]:
    """Return what a transformer's cache for `batch` rows consists of, with all its slots.

    Raises:
        BackendError: the manifest describes keys or values of another shape.
    """
    found = []
    for entry in graph.cache_inputs:
        match entry.shape:
            case (_, int(heads), "slots", int(head_dim)):
                slots = graph.dynamic["slots"][-1]
                found.append(CacheTensor(entry.name, (batch, heads, slots, head_dim), entry.dtype))
            case _:
                raise BackendError(f"{entry.name}: expected [batch, heads, slots, head_dim], got {entry.shape}")
    return found


@runtime_checkable
class KVCache(Protocol):
    """A handle to the keys and values of one decode with one model; only its backend looks inside."""

    batch: int


class Backend(Protocol):
    """Runs the graphs of one bundle. All arrays are numpy, all randomness comes in as noise.

    A backend that does not support all of CAPABILITIES has an attribute `capabilities`, those that it does support.
    One that writes padding behind a pass's tokens has an attribute `pads_passes`, True.
    """

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


@runtime_checkable
class ScoringBackend(Backend, Protocol):
    """A backend whose logits stay where they are computed, on a GPU say: the host sees tokens and decisions alone.

    One that can make scores of logits in the host's memory, Float32[B, T, V], has a method `scores_of`: with logits of
    its own making the conformance suite asks what no model's would (ties, sums that reach a limit exactly).
    """

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> "Scores":
        """Run one pass as `feed` does; return its logits as they lie."""


class CachePool(Protocol):
    """Keys and values of one model for several decodes, each of which takes rows."""

    def rows(self, first_row: int, count: int) -> KVCache:
        """Return a handle to some of the rows, in the same memory."""

    def clear(self, first_row: int, count: int) -> None:
        """Set some of the rows to zeros: whatever a decode left there is nothing to the next."""


@runtime_checkable
class PoolingBackend(Backend, Protocol):
    """A backend that runs passes of several decodes as one, over rows of a pool side by side.

    One for which passes of many tokens gain nothing has an attribute `max_shared_tokens`, the most that do.
    """

    def new_pool(self, graph: str, rows: int) -> CachePool:
        """Return an empty pool for a transformer's graph."""

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> "PartedScores":
        """Run one pass over rows of a pool; inputs as for `feed`, `write_index` by row."""


def capabilities_of(backend: Backend) -> frozenset[str]:
    """Return what a backend supports.

    Raises:
        BackendError: it names something that is no capability.
    """
    given = getattr(backend, "capabilities", CAPABILITIES)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BackendError(f"backend {backend.name}: capabilities: expected a set of names, got {given!r:.80}")
    named = frozenset(map(str, given))
    if not named <= set(CAPABILITIES):
        unknown = ", ".join(sorted(named - set(CAPABILITIES)))
        raise BackendError(
            f"backend {backend.name}: capabilities: expected some of {', '.join(CAPABILITIES)}, got {unknown}"
        )
    return named

"""A backend around another: what times, shares or listens overrides a method and forgets nothing of the rest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, CachePool, Fed, Floats, KVCache, Scores, Tensors, Tokens


class WrappedBackend(Backend):
    """Another backend in everything that a subclass does not override.

    Traits are the wrapped backend's. A subclass that differs names the traits that do in `changed_traits`, and may not
    declare `traits` itself: a trait that it does not think of, such as `pads_passes`, without which padding would be
    written over living slots, cannot get lost.

    Attributes:
        backend: The wrapped one.
    """

    changed_traits: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        """Refuse a subclass that declares all traits anew.

        Raises:
            TypeError: it does.
        """
        super().__init_subclass__()
        if "traits" in vars(cls):
            raise TypeError(f"{cls.__name__}: traits: expected changed_traits, which names those that differ")

    def __init__(self, backend: Backend) -> None:
        """Wrap a backend."""
        self.backend, self.name, self.device, self.notes = backend, backend.name, backend.device, backend.notes
        self.threads = backend.threads
        self.traits = replace(backend.traits, **self.changed_traits)

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        return self.backend.run(graph, inputs)

    def new_cache(self, graph: str, batch: int) -> KVCache:
        """Return empty keys and values."""
        return self.backend.new_cache(graph, batch)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        """Run a pass; return its logits."""
        return self.backend.feed(graph, cache, inputs)

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        """Run a pass; return its logits and hidden states."""
        return self.backend.feed_with_hidden(graph, cache, inputs)

    def keep_slots(self, graph: str, cache: KVCache, slots: Tokens) -> None:
        """Move slots to the front."""
        self.backend.keep_slots(graph, cache, slots)

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        """Run a pass; return its scores."""
        return self.backend.score(graph, cache, inputs)

    def scores_of(self, logits: Floats) -> Scores:
        """Return scores of logits in the host's memory."""
        return self.backend.scores_of(logits)

    def new_pool(self, graph: str, rows: int) -> CachePool:
        """Return an empty pool."""
        return self.backend.new_pool(graph, rows)

    def gains_by_sharing(self, graph: str) -> bool:
        """Whether several decodes should share passes of a graph."""
        return self.backend.gains_by_sharing(graph)

    def takes_shared(self, graph: str, rows: int, tokens: int) -> bool:
        """Whether a pass that decodes share may have so many rows of so many tokens."""
        return self.backend.takes_shared(graph, rows, tokens)

    def memory(self) -> dict[str, int]:
        """Return bytes by what they hold."""
        return self.backend.memory()

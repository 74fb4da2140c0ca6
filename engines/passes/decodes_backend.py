"""What one decode of several takes for its backend."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Fed, Floats, KVCache, Scores, Tensors, Tokens
from mulo_sd.engines.backends.wrapped import WrappedBackend
from mulo_sd.engines.passes.shared_passes import PASSES_A_TURN, Place, SharedPasses


class DecodesBackend(WrappedBackend):
    """What one decode takes for its backend: shared passes, and everything else as it is."""

    # Shared passes are padded. A decode takes no pool: its rows are those of its place.
    changed_traits: ClassVar[Mapping[str, Any]] = {"scores": True, "pools": False, "pads_passes": True}

    def __init__(self, shared: SharedPasses, number: int, check: Callable[[], None]) -> None:
        """Take part.

        Args:
            shared: With the other decodes.
            number: Its place.
            check: Called before every pass; raises where the decode is to end.
        """
        super().__init__(shared.backend)
        self.shared, self.number, self.check = shared, number, check
        self.passes = 0

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        self.check()
        return self.shared.run(graph, inputs)

    def new_cache(self, graph: str, batch: int) -> Place:
        """Return an empty cache."""
        return self.shared.place(graph, self.number, batch)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        """Run a pass; return its logits."""
        return self.score(graph, cache, inputs).logits()

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        """Run a pass; return its logits and hidden states."""
        scores = self.score(graph, cache, inputs)
        return Fed(scores.logits(), scores.hidden())

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        """Run a pass together with others."""
        self.check()
        assert isinstance(cache, Place)
        self.passes += 1
        if self.passes % PASSES_A_TURN == 0:
            self.shared.next_turn()
        return self.shared.score(graph, cache, inputs)

    def keep_slots(self, graph: str, cache: KVCache, slots: Tokens) -> None:
        """Move slots to the front."""
        assert isinstance(cache, Place)
        self.shared.backend.keep_slots(graph, cache.cache, slots)

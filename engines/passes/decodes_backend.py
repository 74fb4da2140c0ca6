"""What one decode of several takes for its backend."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import KVCache, Tensors
from mulo_sd.engines.passes.shared_passes import PASSES_A_TURN, Place, SharedPasses
from mulo_sd.engines.scores import Scores


@dataclass
class DecodesBackend:
    """What one decode takes for its backend: shared passes, and everything else as it is.

    Attributes:
        shared: With the other decodes.
        number: Its place.
        check: Called before every pass; raises where the decode is to end.
    """

    shared: SharedPasses
    number: int
    check: Callable[[], None]
    name: str = field(init=False)
    passes: int = field(init=False, default=0)
    pads_passes = True

    def __post_init__(self) -> None:
        """Take the backend's name."""
        self.name = self.shared.backend.name

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        self.check()
        return self.shared.run(graph, inputs)

    def new_cache(self, graph: str, batch: int) -> Place:
        """Return an empty cache."""
        return self.shared.place(graph, self.number, batch)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run a pass; return its logits."""
        return self.score(graph, cache, inputs).logits()

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        """Run a pass together with others."""
        self.check()
        assert isinstance(cache, Place)
        self.passes += 1
        if self.passes % PASSES_A_TURN == 0:
            self.shared.next_turn()
        return self.shared.score(graph, cache, inputs)

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front."""
        assert isinstance(cache, Place)
        with self.shared.busy:  # a pool that grows meanwhile would lose what moved
            self.shared.backend.keep_slots(graph, cache.cache, slots)

"""A backend that declares every trait and computes nothing: what wraps one, or shares its passes, is tested with it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Backend, CachePool, Fed, Floats, KVCache, Scores, Tensors, Tokens, Traits

# None of them is a default.
EVERYTHING = Traits(
    capabilities=frozenset({"ar", "serial"}),
    scores=True,
    scores_host_logits=True,
    pools=True,
    max_shared_tokens=3,
    pads_passes=True,
    branches=True,
)


class NotingBackend(Backend):
    """A backend with every trait, whose calls are noted."""

    name, device, traits, notes = "noting", "a device", EVERYTHING, ("a note",)

    def __init__(self) -> None:
        self.called: list[str] = []

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        self.called.append("run")
        return {}

    def new_cache(self, graph: str, batch: int) -> Any:
        self.called.append("new_cache")

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        self.called.append("feed")
        return np.zeros((1, 1, 2), dtype=np.float32)

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        self.called.append("feed_with_hidden")
        return Fed(np.zeros((1, 1, 2), dtype=np.float32), np.zeros((1, 1, 3), dtype=np.float32))

    def keep_slots(self, graph: str, cache: KVCache, slots: Tokens) -> None:
        self.called.append("keep_slots")

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        self.called.append("score")
        return ArrayScores(np.zeros((1, 1, 2), dtype=np.float32))

    def scores_of(self, logits: Floats) -> Scores:
        self.called.append("scores_of")
        return ArrayScores(logits)

    def new_pool(self, graph: str, rows: int) -> CachePool:
        self.called.append("new_pool")
        return None  # type: ignore[return-value]  # nobody takes rows of it

    def takes_shared(self, graph: str, rows: int, tokens: int) -> bool:
        self.called.append("takes_shared")
        return True

    def gains_by_sharing(self, graph: str) -> bool:
        self.called.append("gains_by_sharing")
        return True

    def memory(self) -> dict[str, int]:
        self.called.append("memory")
        return {"weights": 1}

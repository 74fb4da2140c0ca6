"""Mutants that remember what they should not: conditions, scalars by shape, caches of others (CONF-5, PREFILL)."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Floats
from mulo_sd.conformance.mutants.mutant import Mutant, on_backend
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors
from mulo_sd.engines.rules.slots import DEAD_RANK


class _FirstNull(UnscoredBackend):
    """Keep the first prompt's null condition for all others: the demo's are all equal."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.null: dict[str, NDArray[Any]] = {}

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if graph.endswith("_condition") and len(inputs["condition"]) == 2:
            condition = inputs["condition"]
            null = self.null.setdefault(graph, condition[1].copy())
            inputs = {"condition": np.stack([condition[0], null])}
        return super().run(graph, inputs)


class _KeptConditions(UnscoredBackend):
    """Make a prefix once for each condition, by a part of it."""

    def __init__(self, right: Backend, part: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        super().__init__(right)
        self.part = part
        self.kept: dict[tuple[Any, ...], dict[str, NDArray[Any]]] = {}

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if not graph.endswith("_condition"):
            return super().run(graph, inputs)
        condition = inputs["condition"]
        key = (graph, condition.shape, self.part(condition).tobytes())
        if key not in self.kept:
            self.kept[key] = super().run(graph, inputs)
        return self.kept[key]


class _Captured(UnscoredBackend):
    """Capture sampling and acceptance by their shapes, with one setting as it was the first time."""

    def __init__(self, right: Backend, setting: str) -> None:
        super().__init__(right)
        self.setting = setting
        self.first: dict[tuple[Any, ...], NDArray[Any]] = {}

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if self.setting in inputs:
            key = (graph, inputs["cond_logits"].shape)
            kept = self.first.setdefault(key, inputs[self.setting].copy())
            inputs = dict(inputs) | {self.setting: kept}
        return super().run(graph, inputs)


class _CapturedPass(UnscoredBackend):
    """Capture passes of the same shapes once they come a third time, and write where the third wrote."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.seen: dict[tuple[Any, ...], list[NDArray[np.int64]]] = {}

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        places = self.seen.setdefault((graph, inputs["tokens"].shape), [])
        if len(places) < 3:
            places.append(inputs["write_index"].copy())
        elif int(places[2].max()) + inputs["tokens"].shape[1] <= inputs["slot_ranks"].shape[1]:
            room: Any = cache  # of ONNX Runtime's backend: the captured pass has room for all slots
            room.make_room(inputs["slot_ranks"].shape[1])
            inputs = dict(inputs) | {"write_index": places[2]}
        return super().feed(graph, cache, inputs)


class _SharedByBackends(UnscoredBackend):
    """Keep keys and values in one place for all backends: those of the n-th cache of each are the same."""

    pools: dict[tuple[int, str, int, int], Any] = {}  # noqa: RUF012  # that they are the class's is the defect

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.made = 0

    def new_cache(self, graph: str, batch: int) -> KVCache:
        self.made += 1
        cache: Any = super().new_cache(graph, batch)  # of ONNX Runtime's backend
        cache.pool = self.pools.setdefault((id(self.backend.bundle), graph, batch, self.made), cache.pool)  # type: ignore[attr-defined]  # likewise
        reused: KVCache = cache
        return reused


class _LeftOver(UnscoredBackend):
    """Use again the cache of a decode that did not come to its end, and forget to empty it.

    Its slots stay alive beyond those that the next decode has written.
    """

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.ranks: WeakKeyDictionary[KVCache, NDArray[np.int64]] = WeakKeyDictionary()
        self.free: dict[tuple[str, int], KVCache] = {}
        self.newest: dict[tuple[str, int], KVCache] = {}

    def new_cache(self, graph: str, batch: int) -> KVCache:
        key = (graph, batch)
        before = self.newest.pop(key, None)
        again = before is not None and self._unfinished(graph, before)
        cache = before if before is not None and again else super().new_cache(graph, batch)
        self.newest[key] = cache
        return cache

    def _unfinished(self, graph: str, cache: KVCache) -> bool:
        """Whether fewer positions were fed than a grid has, less its last."""
        ranks = self.ranks.get(cache)
        entries = self.backend.bundle.manifest.models  # type: ignore[attr-defined]  # of ONNX Runtime's backend
        entry = next(entry for entry in entries if entry.graph == graph)
        fed = 0 if ranks is None else int((ranks[0] != DEAD_RANK).sum())
        return bool(fed < entry.prefix_length + entry.grid_height * entry.grid_width - 1)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        ranks = inputs["slot_ranks"]
        old = self.ranks.get(cache)
        if old is not None:
            last = int((ranks != DEAD_RANK).nonzero()[1].max())
            ranks = np.where(np.arange(ranks.shape[1]) > last, old, ranks)
        self.ranks[cache] = ranks.copy()
        return super().feed(graph, cache, dict(inputs) | {"slot_ranks": ranks})


def _conditional_half(condition: NDArray[Any]) -> NDArray[Any]:
    return condition[:1]


def _last_half(condition: NDArray[Any]) -> NDArray[Any]:
    return condition[-1:]


def _first_tokens(condition: NDArray[Any]) -> NDArray[Any]:
    return condition[:, : condition.shape[1] // 2]


MUTANTS = (
    Mutant("the first prompt's null condition is kept", "PREFILL", on_backend(_FirstNull)),
    Mutant(
        "prefixes are kept by the conditional half",
        "PREFILL",
        on_backend(lambda right: _KeptConditions(right, _conditional_half)),
    ),
    Mutant(
        "prefixes are kept by the null half", "PREFILL", on_backend(lambda right: _KeptConditions(right, _last_half))
    ),
    Mutant(
        "prefixes are kept by their first tokens",
        "PREFILL",
        on_backend(lambda right: _KeptConditions(right, _first_tokens)),
    ),
    *(
        Mutant(
            f"graphs are captured with the first {setting.replace('_', ' ').replace('top ', 'top-')} of their shape",
            "CONF-5",
            on_backend(lambda right, setting=setting: _Captured(right, setting)),  # type: ignore[misc]  # bound here
        )
        for setting in ("guidance_scale", "temperature", "top_k", "top_p")
    ),
    Mutant("passes are captured with the place that they wrote to", "KV-1", on_backend(_CapturedPass)),
    Mutant("two backends of a bundle share their caches", "CONF-5", on_backend(_SharedByBackends)),
    Mutant("a cancelled decode's cache is used again as it is", "CONF-5", on_backend(_LeftOver)),
)

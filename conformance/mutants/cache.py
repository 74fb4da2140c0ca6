"""Mutants of the cache: what is fed, where it is written and what is seen (GRID-2, KV-1 to KV-4, PREFILL)."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Floats
from mulo_sd.conformance.mutants.mutant import Mutant, on_backend, patched
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors
from mulo_sd.engines.loop import decode
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.slots import DEAD_RANK


def _decided_is_not_fed(right: Any, state: ModelState, cells: Any, tokens: Any) -> None:
    """Feed a resampled token only where a query for its successor asks for it."""
    right(state, cells, tokens)
    state.pending.difference_update(cells)


def _positions_off_by_one(
    right: Any, session: TransformerSession, cells: NDArray[np.int64], tokens: Any, *others: Any
) -> Any:
    """After a scattered write, count on from the first position."""
    if len(cells) > 1 and (np.diff(cells) != 1).any():
        cells = np.minimum(
            cells + (np.arange(len(cells)) > 0), session.entry.grid_height * session.entry.grid_width - 1
        )
    return right(session, cells, tokens, *others)


class _SwapsOnRefresh(UnscoredBackend):
    """Write keys as values, and values as keys, where most of a pass is fed again."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        again = int((inputs["slot_ranks"] == DEAD_RANK)[:, : int(inputs["write_index"][0])].sum())
        logits = super().feed(graph, cache, inputs)
        count, start = inputs["tokens"].shape[1], int(inputs["write_index"][0])
        if again and count > 8:
            arrays: dict[str, NDArray[Any]] = cache.arrays  # type: ignore[attr-defined]  # of ONNX Runtime's backend
            for name in [name for name in arrays if name.startswith("key_")]:
                key, value = arrays[name], arrays[name.replace("key_", "value_")]
                slots = np.s_[:, :, start : start + count]
                key[slots], value[slots] = value[slots].copy(), key[slots].copy()
        return logits


class _OldSlotsLive(UnscoredBackend):
    """Show the slots of tokens that have been replaced, until the cache is compacted."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        # By the cache itself, and not its id, which another has once this one is gone.
        self.seen: WeakKeyDictionary[KVCache, NDArray[np.int64]] = WeakKeyDictionary()

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        ranks = inputs["slot_ranks"]
        seen = np.minimum(ranks, self.seen.get(cache, np.full_like(ranks, DEAD_RANK)))
        self.seen[cache] = seen
        return super().feed(graph, cache, dict(inputs) | {"slot_ranks": seen})

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        self.seen.pop(cache, None)
        super().keep_slots(graph, cache, slots)


class _CompactsNothing(UnscoredBackend):
    """Leave keys and values where they are while the slots move."""

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        return


class _HalfPrecision(UnscoredBackend):
    """Accumulate logits in half precision."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        return super().feed(graph, cache, inputs).astype(np.float16).astype(np.float32)


class _SlotOrder(UnscoredBackend):
    """See what was written before, by slot and not by position."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        ranks = inputs["slot_ranks"]
        alive = ranks != DEAD_RANK
        return super().feed(graph, cache, dict(inputs) | {"slot_ranks": np.where(alive, 0, ranks)})


class _OwnPassUnseen(UnscoredBackend):
    """Attend before the pass's own keys are written, but for the query's own."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        count = inputs["tokens"].shape[1]
        rows = []
        for at in range(count):
            one = {name: value[:, [at]] for name, value in inputs.items() if name in ("tokens", "prefix", "positions")}
            ranks, start = inputs["slot_ranks"].copy(), int(inputs["write_index"][0])
            ranks[:, start : start + count] = DEAD_RANK
            ranks[:, start + at] = inputs["positions"][:, at]
            write = np.full_like(inputs["write_index"], start + at)
            rows.append(super().feed(graph, cache, one | {"slot_ranks": ranks, "write_index": write}))
        return np.concatenate(rows, axis=1)


class _OneCacheForAll(UnscoredBackend):
    """Give every decode with a model the same keys and values, also those that run at once."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.caches: dict[tuple[str, int], KVCache] = {}

    def new_cache(self, graph: str, batch: int) -> KVCache:
        if (graph, batch) not in self.caches:
            self.caches[graph, batch] = super().new_cache(graph, batch)
        return self.caches[graph, batch]


class _DriftsWithUse(UnscoredBackend):
    """Round a little otherwise each time, as kernels do that add in the order in which threads finish."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.passes = 0

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        self.passes += 1
        logits = super().feed(graph, cache, inputs)
        steps = np.arange(logits.size, dtype=np.float32).reshape(logits.shape)
        return logits + np.float32(4e-4) * np.sin(steps + self.passes).astype(np.float32)


class _BatchSwapped(UnscoredBackend):
    """Return the unconditional half first."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        return super().feed(graph, cache, inputs)[::-1].copy()


class _PrefixUnseen(UnscoredBackend):
    """Mask the first four prefix tokens for image tokens."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        if int(inputs["tokens"][0, 0]) < 0:
            return super().feed(graph, cache, inputs)
        ranks = inputs["slot_ranks"]
        hidden = np.where(ranks < 4, DEAD_RANK, ranks)
        return super().feed(graph, cache, dict(inputs) | {"slot_ranks": hidden})


class _TwoConditions(UnscoredBackend):
    """Take the condition for the null condition, too."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if graph.endswith("_condition") and len(inputs["condition"]) == 2:
            inputs = {"condition": inputs["condition"][[0, 0]]}
        return super().run(graph, inputs)


def _refreshes_this_window(
    right: Any, state: Any, proposal: Any, codes: Any, order: Any, also: range, *rest: Any
) -> Any:
    """Feed the window that is verified again, and not the one before it."""
    if len(also):
        also = range(also.stop, min(also.stop + len(also), state.height * state.width - 1))
    return right(state, proposal, codes, order, also, *rest)


def _forgets_refresh(right: Any, state: Any, proposal: Any, codes: Any, order: Any, also: range, *rest: Any) -> Any:
    return right(state, proposal, codes, order, range(0), *rest)


MUTANTS = (
    Mutant(
        "a resampled token whose successor is kept is never fed again",
        "KV-3",
        patched(ModelState, "decide", _decided_is_not_fed),
    ),
    Mutant(
        "positions are off by one after a scattered write",
        "KV-1",
        patched(TransformerSession, "feed", _positions_off_by_one),
    ),
    Mutant("the slot that held a position before stays visible", "KV-1", on_backend(_OldSlotsLive)),
    Mutant("compaction moves slots, but no keys and values", "KV-1", on_backend(_CompactsNothing)),
    Mutant("keys and values are swapped when a window is fed again", "KV-2", on_backend(_SwapsOnRefresh)),
    Mutant("logits in half precision", "CONF-1", on_backend(_HalfPrecision)),
    Mutant("a query sees by slot and not by position", "KV-1", on_backend(_SlotOrder)),
    Mutant("a query sees nothing else of its own pass", "KV-1", on_backend(_OwnPassUnseen)),
    Mutant("the unconditional half comes first", "PREFILL", on_backend(_BatchSwapped)),
    Mutant("image tokens do not see a part of the prefix", "GRID-2", on_backend(_PrefixUnseen)),
    Mutant("the null condition is the condition", "PREFILL", on_backend(_TwoConditions)),
    Mutant("decodes that run at once share a cache", "CONF-5", on_backend(_OneCacheForAll)),
    Mutant("logits differ a little from run to run", "CONF-5", on_backend(_DriftsWithUse)),
    Mutant("refresh feeds the window itself", "KV-4", patched(decode, "verify_locally", _refreshes_this_window)),
    Mutant("refresh is ignored", "KV-4", patched(decode, "verify_locally", _forgets_refresh)),
)

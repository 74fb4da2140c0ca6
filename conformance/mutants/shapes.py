"""Mutants that are wrong in some shapes alone: long passes, caches that grow, many rows, wide heads, oblong grids."""

import math
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import onnx
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants import shape_arithmetic
from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend, Floats
from mulo_sd.conformance.mutants.graphs import change_rotary, edited
from mulo_sd.conformance.mutants.mutant import on_backend, patched
from mulo_sd.conformance.mutants.sized import OBLONG, SizedMutant
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors
from mulo_sd.engines.backends.ort import cpu as onnx_runtime
from mulo_sd.engines.loop import verify
from mulo_sd.engines.rules import noise, schedule
from mulo_sd.engines.rules.slots import DEAD_RANK

LONG, BLOCK = 64, 128


class _LongPassHidesItsLast(UnscoredBackend):
    """In a pass of 64 tokens or more, hide the last one's slot."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        fed = inputs["tokens"].shape[1]
        if fed >= LONG:
            ranks = inputs["slot_ranks"].copy()
            ranks[:, int(inputs["write_index"][0]) + fed - 1] = DEAD_RANK
            inputs = dict(inputs) | {"slot_ranks": ranks}
        return super().feed(graph, cache, inputs)


class _BlocksApart(UnscoredBackend):
    """Run what a pass feeds beyond 128 tokens apart, without the tokens before."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        fed, start = inputs["tokens"].shape[1], int(inputs["write_index"][0])
        parts = []
        for first in range(0, fed, BLOCK):
            block = slice(first, min(first + BLOCK, fed))
            ranks = inputs["slot_ranks"].copy()
            ranks[:, start : start + fed] = DEAD_RANK
            ranks[:, start + block.start : start + block.stop] = inputs["positions"][:, block]
            some = {name: inputs[name][:, block] for name in ("tokens", "prefix", "positions")}
            write = inputs["write_index"] + first
            parts.append(super().feed(graph, cache, some | {"slot_ranks": ranks, "write_index": write}))
        return np.concatenate(parts, axis=1)


def _grows_by_its_first_block(right: Any, pool: onnx_runtime.Pool, slots: int) -> None:
    """Copy one block where a cache grows."""
    held = pool.slots
    right(pool, slots)
    if held and pool.slots > held:
        for value in pool.arrays.values():
            value[:, :, BLOCK:held] = 0


def _second_growth_loses_the_tail(right: Any, pool: onnx_runtime.Pool, slots: int) -> None:
    """Forget the last slot where a cache grows a second time."""
    held = pool.slots
    right(pool, slots)
    if held > BLOCK and pool.slots > held:
        for value in pool.arrays.values():
            value[:, :, held - 1] = 0


class _MovesOneBlock(UnscoredBackend):
    """Move the first 128 of the slots that are kept."""

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        super().keep_slots(graph, cache, slots[:BLOCK])


class _MovesOverItself(UnscoredBackend):
    """Move blocks of slots from the last to the first, over those that are still to be moved."""

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        for value in cache.arrays.values():  # type: ignore[attr-defined]  # of ONNX Runtime's backend
            for first in reversed(range(0, len(slots), BLOCK)):
                part = slots[first : first + BLOCK]
                value[:, :, first : first + len(part)] = value[:, :, part]


class _TilesOfRows(UnscoredBackend):
    """Run a graph over grids in tiles of rows, each as if it were a whole image."""

    graph, given, made, rows = "", "", "", 0

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if not graph.startswith(self.graph):
            return super().run(graph, inputs)
        tokens = inputs[self.given]
        tiles = [tokens[first : first + self.rows] for first in range(0, len(tokens), self.rows)]
        return {
            self.made: np.concatenate(
                [
                    super(_TilesOfRows, self).run(graph, {self.given: np.ascontiguousarray(tile)})[self.made]
                    for tile in tiles
                ]
            )
        }


class _UpSamplesTiles(_TilesOfRows):
    graph, given, made, rows = "up_sampler", "low_tokens", "high_tokens", 8


class _DownSamplesTiles(_TilesOfRows):
    graph, given, made, rows = "down_sampler", "high_tokens", "low_tokens", 16


class _DecodesTiles(_TilesOfRows):
    graph, given, made, rows = "decoder", "tokens", "image", 16


class _ReadsColumnsFirst(UnscoredBackend):
    """Take the numbers of rows and columns of a grid for each other."""

    graph, given = "", ""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if graph.startswith(self.graph):
            tokens = inputs[self.given]
            swapped = tokens.reshape(tokens.shape[1], tokens.shape[0]).T
            inputs = {self.given: np.ascontiguousarray(swapped)}
        return super().run(graph, inputs)


class _DecodesColumnsFirst(_ReadsColumnsFirst):
    graph, given = "decoder", "tokens"


class _UpSamplesColumnsFirst(_ReadsColumnsFirst):
    graph, given = "up_sampler", "low_tokens"


class _StaleMask(UnscoredBackend):
    """Without guidance, let a long pass see what the pass before it saw, and itself not."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.seen: WeakKeyDictionary[KVCache, NDArray[np.int64]] = WeakKeyDictionary()

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        ranks, before = inputs["slot_ranks"], self.seen.get(cache)
        self.seen[cache] = ranks.copy()
        if cache.batch == 1 and inputs["tokens"].shape[1] >= LONG and before is not None:
            inputs = dict(inputs) | {"slot_ranks": before}
        return super().feed(graph, cache, inputs)


class _CutAlone(UnscoredBackend):
    """Without guidance, compute 64 tokens of a pass, and repeat the last one's logits for the rest."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        logits = super().feed(graph, cache, inputs)
        if cache.batch == 1:
            logits[:, LONG:] = logits[:, LONG - 1 : LONG]
        return logits


class _HalfOfALongPassIsWritten(UnscoredBackend):
    """Without guidance, a long pass leaves the second half of its keys and values unwritten, as a grid of two rows."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        logits = super().feed(graph, cache, inputs)
        fed, start = inputs["tokens"].shape[1], int(inputs["write_index"][0])
        if cache.batch == 1 and fed >= LONG:
            for value in cache.arrays.values():  # type: ignore[attr-defined]  # of ONNX Runtime's backend
                value[:, :, start + fed // 2 : start + fed] = 0
        return logits


def _scaled_as_64(model: onnx.ModelProto) -> None:
    """Divide the scores of heads wider than 64 by the square root of 64."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Attention" and attribute.name == "scale":
                attribute.f = max(attribute.f, 1 / math.sqrt(64))


def _by_height(model: onnx.ModelProto) -> None:
    """Find a cell's row and column by the grid's height; prefix positions stay."""
    height, width, prefix = 4, 12, 12  # of the oblong target

    def change(table: NDArray[Any]) -> NDArray[Any]:
        cells = np.arange(height * width)
        rows, columns = cells // height, cells % height
        by_row, by_column = (
            table[prefix::width, : table.shape[1] // 2],
            table[prefix : prefix + width, table.shape[1] // 2 :],
        )
        turned = np.concatenate([by_row[rows % height], by_column[columns]], axis=1)
        return np.concatenate([table[:prefix], turned])

    change_rotary(model, change)


def _swapped(right: Any, mask: NDArray[np.bool_], radii: NDArray[np.int64], *rows: Any) -> NDArray[np.bool_]:
    """Expand on a grid whose height and width are swapped."""
    turned = mask.shape[::-1]
    return np.asarray(right(mask.reshape(turned), radii.reshape(turned))).reshape(mask.shape)


class _ConditionAlone(UnscoredBackend):
    """Without guidance, leave the first token of the condition out."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        outputs = super().run(graph, inputs)
        if graph.endswith("_condition") and len(inputs["condition"]) == 1:
            outputs["prefix"][:, 0] = 0
        return outputs


def _scheduled_by_height(right: Any, cells: NDArray[np.bool_], window: int | None, by_island: bool) -> Any:
    """Order cells on a grid whose height and width are swapped."""
    return right(cells.reshape(cells.shape[::-1]), window, by_island)


def _with(arithmetic: type[Arithmetic]) -> Callable[[Any], Any]:
    return on_backend(lambda right: ArithmeticBackend(right, arithmetic()))


MUTANTS: tuple[SizedMutant, ...] = (
    SizedMutant("a pass of 64 tokens or more hides its last", "KV-1", on_backend(_LongPassHidesItsLast)),
    SizedMutant("a pass of more than 128 tokens is two that do not see each other", "KV-1", on_backend(_BlocksApart)),
    SizedMutant(
        "a cache that grows keeps its first block",
        "KV-1",
        patched(onnx_runtime.Pool, "make_room", _grows_by_its_first_block),
    ),
    SizedMutant(
        "a cache that grows a second time loses its last slot",
        "KV-2",
        patched(onnx_runtime.Pool, "make_room", _second_growth_loses_the_tail),
    ),
    SizedMutant("compaction moves one block", "KV-1", on_backend(_MovesOneBlock)),
    SizedMutant("compaction moves blocks over one another", "KV-1", on_backend(_MovesOverItself)),
    SizedMutant(
        "rows beyond the 16th are sampled with the first one's noise",
        "RNG-1",
        _with(shape_arithmetic.NoiseOfTheFirstRow),
    ),
    SizedMutant(
        "rows beyond the 16th are judged by the first one's draft", "POOL-1", _with(shape_arithmetic.DraftOfTheFirstRow)
    ),
    SizedMutant("rows beyond the 64th have a mean entropy", "LOCAL-3", _with(shape_arithmetic.EntropyOfTheFirstRows)),
    SizedMutant("512 codes are drawn from", "RNG-1", _with(shape_arithmetic.DrawsAmong512)),
    SizedMutant("top-k ranks 512 codes", "DIST-1", _with(shape_arithmetic.TopKAmong512)),
    SizedMutant("top-p ranks 1,024 codes", "DIST-1", _with(shape_arithmetic.TopPAmong1024)),
    SizedMutant("the best of 1,024 codes is drawn at temperature 0", "DIST-1", _with(shape_arithmetic.GreedyAmong1024)),
    SizedMutant("the softmax adds 1,024 codes up", "DIST-1", _with(shape_arithmetic.SoftmaxOver1024)),
    SizedMutant("32 neighbours are pooled", "POOL-1", _with(shape_arithmetic.Pools32)),
    SizedMutant(
        "noise repeats after 256 cells",
        "RNG-1",
        patched(
            noise, "gumbel_noise", lambda right, seed, stream, cells, *rest: right(seed, stream, cells % 256, *rest)
        ),
    ),
    SizedMutant("heads wider than 64 are scaled as heads of 64", "CONF-1", edited(_scaled_as_64)),
    SizedMutant("the up-sampler works in tiles of 8 rows", "SCALE-1", on_backend(_UpSamplesTiles)),
    SizedMutant("the down-sampler works in tiles of 16 rows", "SCALE-2", on_backend(_DownSamplesTiles)),
    SizedMutant("the decoder works in tiles of 16 rows", "CONF-2", on_backend(_DecodesTiles)),
    SizedMutant("a long pass without guidance is masked as the pass before it", "KV-1", on_backend(_StaleMask)),
    SizedMutant("a pass without guidance ends after 64 tokens", "CONF-1", on_backend(_CutAlone)),
    SizedMutant("half of a long pass without guidance is written", "KV-2", on_backend(_HalfOfALongPassIsWritten)),
    SizedMutant("a cell's row and column by the grid's height", "CONF-1", edited(_by_height), preset=OBLONG),
    SizedMutant("the decoder swaps rows and columns", "CONF-2", on_backend(_DecodesColumnsFirst), preset=OBLONG),
    SizedMutant("the up-sampler swaps rows and columns", "SCALE-1", on_backend(_UpSamplesColumnsFirst), preset=OBLONG),
    SizedMutant(
        "a rejection grows on a grid of swapped sides", "LOCAL-1", patched(verify, "expand", _swapped), preset=OBLONG
    ),
    SizedMutant(
        "cells are ordered on a grid of swapped sides",
        "SCHED-1",
        patched(schedule, "Schedule", _scheduled_by_height),
        preset=OBLONG,
    ),
    SizedMutant("a condition without guidance lacks its first token", "PREFILL", on_backend(_ConditionAlone)),
)

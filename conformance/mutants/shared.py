"""Mutants of passes that requests share: something is taken from the first of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.mutant import Make, patched
from mulo_sd.conformance.mutants.sized import SizedMutant
from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.ort import cpu as onnx_runtime
from mulo_sd.engines.passes import shared_passes
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.rules.slots import DEAD_RANK

_seeds: dict[int, int] = {}


def _of_the_first(name: str) -> Make:
    """Take one input of all requests from the first."""

    def wrong(right: Any, passes: Any) -> Any:
        inputs = dict(right(passes))
        values = inputs[name]
        inputs[name] = np.ascontiguousarray(np.broadcast_to(values[:1], values.shape))
        return inputs

    return patched(shared_passes, "_merged", wrong)


def _padding_lives(right: Any, passes: Any) -> Any:
    """Show the padding behind a request's own tokens, at its last position."""
    inputs = dict(right(passes))
    ranks, fed = inputs["slot_ranks"].copy(), inputs["tokens"].shape[1]
    rows = 0
    for item in passes:
        for row in range(rows, rows + item.place.batch):
            start = int(inputs["write_index"][row])
            padding = slice(start + item.fed, start + fed)
            ranks[row, padding] = inputs["positions"][row, -1]
        rows += item.place.batch
    inputs["slot_ranks"] = ranks
    return inputs


def _mask_of_the_longest(right: Any, passes: Any) -> Any:
    """Give every request the mask of the one that has fed most."""
    inputs = dict(right(passes))
    ranks = inputs["slot_ranks"]
    fullest = int((ranks != DEAD_RANK).sum(axis=1).argmax())
    inputs["slot_ranks"] = np.ascontiguousarray(np.broadcast_to(ranks[fullest], ranks.shape))
    return inputs


def _scores_of_the_first(right: Any, scores: ArrayScores, first_row: int, batch: int, fed: int) -> Any:
    return right(scores, 0, batch, fed)


def _rows_from_the_first(right: Any, pool: onnx_runtime.Pool, first_row: int, count: int) -> Any:
    """Let every cache begin at the pool's first row."""
    return right(pool, 0, count)


def _one_row_beyond(right: Any, scores: ArrayScores, first_row: int, batch: int, fed: int) -> Any:
    """Take a request without guidance for the unconditional half of its neighbour."""
    return right(scores, max(0, first_row - 1) if batch == 1 else first_row, batch, fed)


def _noise_of_the_first(right: Any, source: NoiseSource, cells: Any) -> NDArray[np.float32]:
    """Draw for every request with the seed of the first that drew from a stream."""
    own = source.seed
    source.seed = _seeds.setdefault(source.stream, own)
    try:
        return np.asarray(right(source, cells))
    finally:
        source.seed = own


MUTANTS: tuple[SizedMutant, ...] = (
    SizedMutant("requests that share a pass have the first one's mask", "KV-1", _of_the_first("slot_ranks")),
    SizedMutant(
        "requests that share a pass have the longest one's mask",
        "KV-1",
        patched(shared_passes, "_merged", _mask_of_the_longest),
    ),
    SizedMutant("requests that share a pass write where the first does", "KV-1", _of_the_first("write_index")),
    SizedMutant("requests that share a pass feed the first one's tokens", "CONF-5", _of_the_first("tokens")),
    SizedMutant("requests that share a pass stand at the first one's positions", "CONF-5", _of_the_first("positions")),
    SizedMutant(
        "requests see the padding behind their tokens", "KV-1", patched(shared_passes, "_merged", _padding_lives)
    ),
    SizedMutant(
        "requests that share a pass have the first one's logits",
        "CONF-5",
        patched(ArrayScores, "part", _scores_of_the_first),
    ),
    SizedMutant(
        "a request without guidance has its neighbour's logits", "CONF-5", patched(ArrayScores, "part", _one_row_beyond)
    ),
    SizedMutant(
        "requests have the first one's keys and values",
        "CONF-5",
        patched(onnx_runtime.Pool, "rows", _rows_from_the_first),
    ),
    SizedMutant("requests draw with the first one's seed", "RNG-1", patched(NoiseSource, "rows", _noise_of_the_first)),
)

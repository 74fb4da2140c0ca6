"""What a sweep costs on this machine by its number of tokens: a pass, and sampling from its logits."""

import platform
import time
from collections.abc import Callable, Mapping

import numpy as np

from mulo_sd.engines.backends.base import Backend, BackendError, KVCache, Tensors
from mulo_sd.engines.backends.host_scores import scorer
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.rules.slots import DEAD_RANK
from mulo_sd.engines.rules.widths import DECIDED, LIKE_THE_DEMO

WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Of one transformer, all widths together: nothing further is begun after them.
MAX_SECONDS = 4.0
# A round measures all widths. The first one warms up, and counts alone where it was long; the last one begins within
# this time.
MAX_ROUNDS, ROUNDS_SECONDS, LONG_ROUND_SECONDS = 5, 0.3, 1.0
# A decided cell that costs so many times the cheapest ends a round but the first: wider sweeps cost more.
TOO_DEAR = 1.5
# Of the loop around a pass, whatever its width: what to feed, what is decided, what the trace notes.
LOOP_SECONDS = 3e-4
# Sampling with top-p sorts every row; without it, it costs less than here.
DISTRIBUTION = Distribution(guidance_scale=1.5, temperature=1.0, top_k=0, top_p=0.95)


def _inputs(entry: TransformerEntry, batch: int, width: int, start: int) -> Tensors:
    """Return the inputs of a pass of tokens that lie behind others, of which the cache holds zeros."""
    positions = np.arange(start, start + width)
    ranks = np.full(entry.slots, DEAD_RANK, dtype=np.int64)
    ranks[: start + width] = np.arange(start + width)
    return {
        "tokens": np.zeros((batch, width), dtype=np.int64),
        "prefix": np.zeros((batch, width, entry.dim), dtype=np.float32),
        "positions": np.broadcast_to(positions, (batch, width)).copy(),
        "slot_ranks": np.broadcast_to(ranks, (batch, entry.slots)).copy(),
        "write_index": np.full(batch, start, dtype=np.int64),
    }


def measured_seconds(backend: Backend, entry: TransformerEntry, batch: int) -> dict[int, float]:
    """Return the seconds of a sweep by some numbers of tokens, ascending: its pass and sampling from it; at least one.

    A narrow pass takes at most what a wider one takes: where it was measured longer, it was disturbed.

    Args:
        backend: Runs the graphs, alone.
        entry: The transformer.
        batch: Rows of its cache.

    Raises:
        BackendError: not even a pass of one token can be run.
    """
    cells = entry.grid_height * entry.grid_width
    cache, noise = backend.new_cache(entry.graph, batch), NoiseSource(0, 0, cells, entry.vocabulary)
    noise.rows(np.arange(cells // 2, min(cells // 2 + 2 * noise.block, cells)))  # made once for a cell, not by a sweep
    widths = [width for width in WIDTHS if width <= cells]
    seconds: dict[int, float] = {}
    begun = time.perf_counter()
    for number in range(MAX_ROUNDS):
        for width in widths:
            try:
                taken = _seconds_of(backend, entry, cache, width, noise)
            except BackendError:  # of so many tokens no pass can be run
                if not seconds:
                    raise
                break
            seconds[width] = min(taken, seconds.get(width, taken))
            # The first pass of a size prepares the runtime for it, so that the first round says too little of its cost.
            if time.perf_counter() - begun > MAX_SECONDS or (number > 0 and _is_too_dear(seconds, width)):
                break
        widths = list(seconds)
        if time.perf_counter() - begun > (ROUNDS_SECONDS if number else LONG_ROUND_SECONDS):
            break
    return {width: LOOP_SECONDS + min(seconds[wider] for wider in widths[place:]) for place, width in enumerate(widths)}


def _is_too_dear(seconds: Mapping[int, float], width: int) -> bool:
    """Whether a decided cell of the demo costs far more by sweeps of a width than by others."""
    by_cell = {other: taken / DECIDED[LIKE_THE_DEMO, other] for other, taken in seconds.items()}
    return bool(by_cell[width] > TOO_DEAR * min(by_cell.values()))


def _clock(backend: Backend) -> Callable[[], float]:
    """Return what times a backend: where the calling thread computes alone, the time for which it does.

    Then other programs, which might keep it waiting now and not later, do not count. Windows counts it in steps that
    are too large.
    """
    alone = backend.device is None and backend.threads == 1 and platform.system() != "Windows"
    return time.thread_time if alone else time.perf_counter


def _seconds_of(backend: Backend, entry: TransformerEntry, cache: KVCache, width: int, noise: NoiseSource) -> float:
    """Return what one pass of some tokens and sampling from all its rows take."""
    # In the middle of the grid, where attention has half of it to look at.
    first = min(noise.cells // 2, noise.cells - width)
    inputs = _inputs(entry, cache.batch, width, entry.prefix_length + first)
    rows, score, clock = np.arange(width), scorer(backend), _clock(backend)
    begun = clock()
    score(entry.graph, cache, inputs).sample(rows, first + rows, DISTRIBUTION, noise, None)
    return clock() - begun

"""Passes of one transformer against their floors: T from 1 to the whole grid, at several fillings of the cache."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mulo_sd.conformance.bench.floors import Floor, Machine, PassSize, floor_of, model_size
from mulo_sd.engines.backends.base import Backend, Tensors
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.rules.slots import DEAD_RANK

# Shares of the image's cells that the cache holds already, of passes of one token.
FILLINGS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class PassRow:
    """A pass, measured, and its floors.

    Attributes:
        size: B, T and filled slots.
        seconds: Median of `count`.
        count: How many were measured.
        floor: In the bundle's precision.
        others: In the other precisions that were measured, to show what they would allow.
    """

    size: PassSize
    seconds: float
    count: int
    floor: Floor
    others: tuple[Floor, ...]

    @property
    def ratio(self) -> float:
        """How many times its floor the pass takes."""
        return self.seconds / self.floor.seconds

    def to_json(self) -> dict[str, Any]:
        """Return it by name, in milliseconds."""
        return {
            "batch": self.size.batch,
            "fed": self.size.fed,
            "slots": self.size.slots,
            "measured_ms": 1e3 * self.seconds,
            "count": self.count,
            "precision": self.floor.precision,
            "floor_ms": 1e3 * self.floor.seconds,
            "memory_ms": 1e3 * self.floor.memory_seconds,
            "compute_ms": 1e3 * self.floor.compute_seconds,
            "binds": self.floor.binds,
            "ratio": self.ratio,
            "other_floors_ms": {floor.precision: 1e3 * floor.seconds for floor in self.others},
        }


def pass_sizes(entry: TransformerEntry, batch: int) -> list[PassSize]:
    """Return the passes to measure: one token at every filling, then growing windows, then the whole grid.

    Growing windows stand at the end of a full grid, where resampling puts them on average at most.
    """
    cells = entry.grid_height * entry.grid_width
    sizes = [PassSize(batch, 1, entry.prefix_length + max(1, round(share * cells))) for share in FILLINGS]
    fed = 4
    while fed < cells:
        sizes.append(PassSize(batch, fed, entry.prefix_length + cells))
        fed *= 4
    return [*sizes, PassSize(batch, cells, entry.prefix_length + cells)]


def pass_inputs(entry: TransformerEntry, size: PassSize) -> Tensors:
    """Return the inputs of a pass whose tokens are the last of the filled slots; tokens are arbitrary codes."""
    first = size.slots - size.fed
    positions = np.arange(first, size.slots)
    ranks = np.full(entry.slots, DEAD_RANK, dtype=np.int64)
    ranks[: size.slots] = np.arange(size.slots)
    tokens = np.where(positions < entry.prefix_length, -1, positions % entry.vocabulary)

    def each_row(values: Any) -> Any:
        return np.repeat(values[None], size.batch, axis=0)

    return {
        "tokens": each_row(tokens),
        "prefix": np.zeros((size.batch, size.fed, entry.dim), dtype=np.float32),
        "positions": each_row(positions),
        "slot_ranks": each_row(ranks),
        "write_index": np.full(size.batch, first, dtype=np.int64),
    }


def measure_pass(
    backend: Backend,
    entry: TransformerEntry,
    size: PassSize,
    budget: float,
    most: int,
    synchronise: Callable[[], None],
) -> tuple[float, int]:
    """Return the median seconds of a pass and how many were measured, after two that do not count.

    Args:
        backend: Runs it; where its logits stay on a device, they do.
        entry: The transformer.
        size: Of the pass.
        budget: Seconds to measure for.
        most: Passes at most; three are measured at least.
        synchronise: Waits for the device.
    """
    cache, inputs = backend.new_cache(entry.graph, size.batch), pass_inputs(entry, size)
    run = backend.score if backend.traits.scores else backend.feed
    seconds: list[float] = []
    ends = float("inf")
    for number in range(2 + most):
        started = time.perf_counter()
        run(entry.graph, cache, inputs)
        synchronise()
        now = time.perf_counter()
        if number == 1:
            ends = now + budget
        elif number > 1:
            seconds.append(now - started)
            if now > ends and len(seconds) >= 3:
                break
    return statistics.median(seconds), len(seconds)


def pass_rows(
    backend: Backend,
    entry: TransformerEntry,
    machine: Machine,
    precision: str,
    batch: int = 2,
    sizes: Sequence[PassSize] | None = None,
    budget: float = 0.5,
    most: int = 200,
    synchronise: Callable[[], None] = lambda: None,
) -> Iterator[PassRow]:
    """Measure passes one by one.

    Args:
        backend: Runs them.
        entry: The transformer.
        machine: For the floors.
        precision: That the bundle's tolerance allows: its own.
        batch: Rows; 2 with guidance.
        sizes: None takes `pass_sizes`.
        budget: Seconds a pass.
        most: Passes of a size.
        synchronise: Waits for the device.
    """
    model = model_size(entry)
    for size in pass_sizes(entry, batch) if sizes is None else sizes:
        seconds, count = measure_pass(backend, entry, size, budget, most, synchronise)
        floor = floor_of(machine, model, size, precision)
        assert floor is not None
        others = (floor_of(machine, model, size, name) for name in machine.rates if name != precision)
        yield PassRow(size, seconds, count, floor, tuple(other for other in others if other is not None))

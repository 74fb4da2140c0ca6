"""What the machine allows: its bandwidth and its rates, measured, and from them the shortest time of a pass.

A pass cannot be faster than its bytes over the bandwidth, nor than its operations over the rate of the matrix units.
Both are measured here and now, with all threads, since a data sheet knows neither the clock nor the neighbours. Each is
the best of several ways to read or multiply and of several tries: noise can only make a machine look slower.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle.manifest import TransformerEntry

MIB = 2**20
# Beside the size of the weights: far beyond any last-level cache of a few cores.
LARGE_BUFFERS = (64 * MIB, 256 * MIB, 512 * MIB)
BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}
# Rows and columns of the products whose rate is measured: the widths of transformers and of their feed-forwards.
PRODUCTS = ((256, 768), (1024, 1024), (2048, 2048))


@dataclass(frozen=True)
class Machine:
    """What was measured.

    Attributes:
        device: In words.
        threads: That measured it; 0 on a GPU.
        bandwidths: Bytes of a buffer -> bytes a second at which it is read over and over; on a GPU at which it is
            copied, bytes read and written.
        rates: Precision -> operations a second of the best product (a multiplication and an addition are two).
    """

    device: str
    threads: int
    bandwidths: Mapping[int, float]
    rates: Mapping[str, float]

    def bandwidth(self, working_set: float) -> float:
        """Return the bandwidth of the largest measured buffer that is no larger than a working set.

        Bandwidth falls as buffers grow out of the caches: of the two neighbours in size this is the faster one, so that
        the floor stays a floor. Below the smallest buffer its bandwidth is taken.
        """
        sizes = sorted(self.bandwidths)
        return self.bandwidths[max((size for size in sizes if size <= working_set), default=sizes[0])]

    def to_json(self) -> dict[str, Any]:
        """Return it by name, buffers as text."""
        return asdict(self) | {"bandwidths": {str(size): rate for size, rate in self.bandwidths.items()}}


@dataclass(frozen=True)
class ModelSize:
    """What a pass of a transformer reads and computes, beside T and the slots.

    Attributes:
        layers: Blocks.
        dim: Channels.
        hidden: Of the feed-forward.
        vocabulary: Logits a row.
    """

    layers: int
    dim: int
    hidden: int
    vocabulary: int

    @property
    def linear_weights(self) -> int:
        """Weights that every row is multiplied with: projections, feed-forward, output. A table is only looked up."""
        block = 4 * self.dim**2 + 3 * self.dim * self.hidden
        return self.layers * block + self.dim * self.vocabulary


def model_size(entry: TransformerEntry) -> ModelSize:
    """Return a bundle's transformer's size; SwiGLU is 8/3 wide, rounded up to a multiple of 256, as in `reference`."""
    hidden = -(-int(8 * entry.dim / 3) // 256) * 256
    return ModelSize(entry.layers, entry.dim, hidden, entry.vocabulary)


@dataclass(frozen=True)
class PassSize:
    """A pass: B rows of T tokens that see so many filled slots, those of the pass included."""

    batch: int
    fed: int
    slots: int


@dataclass(frozen=True)
class Floor:
    """The shortest time of a pass in one precision.

    Attributes:
        precision: Of weights, keys, values and products.
        moved: Bytes: weights once, keys and values of the filled slots, float32 logits.
        operations: Of products and attention.
        memory_seconds: Bytes over bandwidth.
        compute_seconds: Operations over rate.
    """

    precision: str
    moved: float
    operations: float
    memory_seconds: float
    compute_seconds: float

    @property
    def seconds(self) -> float:
        return max(self.memory_seconds, self.compute_seconds)

    @property
    def binds(self) -> str:
        """Which of the two it is."""
        return "memory" if self.memory_seconds >= self.compute_seconds else "compute"


def moved_bytes(model: ModelSize, size: PassSize, precision: str) -> float:
    """Return the bytes that a pass reads or writes at least."""
    width = BYTES[precision]
    keys_and_values = 2 * model.layers * size.batch * size.slots * model.dim * width
    logits = 4 * size.batch * size.fed * model.vocabulary
    return float(model.linear_weights * width + keys_and_values + logits)


def operation_count(model: ModelSize, size: PassSize) -> float:
    """Return the operations of a pass: 2 a weight and row, and 4 a channel, layer, row and slot for attention."""
    rows = size.batch * size.fed
    return float(2 * model.linear_weights * rows + 4 * rows * size.slots * model.dim * model.layers)


def floor_of(machine: Machine, model: ModelSize, size: PassSize, precision: str) -> Floor | None:
    """Return a pass's floor in a precision; None where the machine's rate in it is not known."""
    if precision not in machine.rates:
        return None
    moved, operations = moved_bytes(model, size, precision), operation_count(model, size)
    # What is read again pass after pass is the weights; whether they stay in a cache decides the bandwidth.
    memory = moved / machine.bandwidth(moved)
    return Floor(precision, moved, operations, memory, operations / machine.rates[precision])


def best_seconds(call: Callable[[], Any], budget: float = 0.25, least: int = 3) -> float:
    """Return the shortest time of a call, after one that does not count unless it is far over the budget.

    Args:
        call: Ends when its work is done.
        budget: Seconds to try for.
        least: Tries at least.
    """
    started = time.perf_counter()
    call()
    first = time.perf_counter() - started
    if first > 2 * budget:  # so slow that what a first call has to prepare is nothing beside it
        return first
    best, tries, ends = float("inf"), 0, time.perf_counter() + budget
    while tries < least or time.perf_counter() < ends:
        started = time.perf_counter()
        call()
        best, tries = min(best, time.perf_counter() - started), tries + 1
    return best


def _read(part: NDArray[np.float32]) -> None:
    part.max()


def _square(part: NDArray[np.float32]) -> None:
    np.dot(part, part)


def read_bandwidth(size: int, threads: int) -> float:
    """Return bytes a second at which `threads` threads read a buffer of `size` bytes, each its own part."""
    buffer = np.ones(size // 4, dtype=np.float32)
    parts = np.array_split(buffer, threads)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for read in (_read, _square):
            # Small buffers several times a call: else starting threads is what is measured.
            rounds = max(1, 64 * MIB // size)

            def work(
                part: NDArray[np.float32],
                read: Callable[[NDArray[np.float32]], None] = read,
                rounds: int = rounds,
            ) -> None:
                for _ in range(rounds):
                    read(part)

            seconds = best_seconds(lambda work=work: list(pool.map(work, parts)))  # type: ignore[misc]
            best = max(best, rounds * buffer.nbytes / seconds)
    return best


def product_rate() -> float:
    """Return numpy's best float32 operations a second; its library takes its own threads."""
    best = 0.0
    for inner, columns in PRODUCTS:
        left, right = np.ones((1024, inner), np.float32), np.ones((inner, columns), np.float32)
        out = np.empty((1024, columns), np.float32)
        seconds = best_seconds(lambda a=left, b=right, c=out: np.matmul(a, b, out=c))  # type: ignore[misc]
        best = max(best, 2.0 * 1024 * inner * columns / seconds)
    return best


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def measure_cpu(weight_bytes: int, threads: int | None, torch_rates: Mapping[str, float]) -> Machine:
    """Measure the processor.

    Args:
        weight_bytes: Of the model: a working set of this size may lie in the last-level cache.
        threads: None takes all.
        torch_rates: What PyTorch reaches, by precision (`conformance.bench.torch_rates`).
    """
    count = threads or usable_processors()
    sizes = sorted({max(weight_bytes, MIB), max(2 * weight_bytes, MIB), *LARGE_BUFFERS})
    bandwidths = {size: read_bandwidth(size, count) for size in sizes}
    rates = dict(torch_rates)
    rates["fp32"] = max(product_rate(), rates.get("fp32", 0.0))
    return Machine(processor_name(), count, bandwidths, rates)

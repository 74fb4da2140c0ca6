"""python -m conformance.tools.measure_sharing: what passes shared by several decodes cost beside the passes themselves.

Decodes of one token a pass, on a backend that answers and samples at once, with inputs of LlamaGen-XL's sizes: what is
left is handing over for the pass and for its sample, joining the inputs, and giving each its own part of the answers.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Backend, CachePool, Floats, KVCache, Tensors, Tokens, Traits, Wanted
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.numbers import whole_number
from mulo_sd.engines.passes.shared_passes import SharedPasses
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource

AT_ONCE = (1, 2, 4, 8, 16)
DIM, SLOTS, CODES = 1280, 1144, 16384
ROWS = 2  # with guidance
ROUNDS = 5


@dataclass
class _Cache:
    """Keys and values that are none."""

    batch: int


class _Rows(CachePool):
    """A pool that holds nothing."""

    def rows(self, first_row: int, count: int) -> KVCache:
        return _Cache(count)

    def clear(self, first_row: int, count: int) -> None:
        return


class _Scores(ArrayScores):
    """Scores whose samples take no time."""

    def part(self, first_row: int, batch: int, fed: int) -> "_Scores":
        return _Scores(self.all[first_row : first_row + batch, :fed])

    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        return rows

    def sample_together(self, wanted: Sequence[Wanted], distribution: Distribution) -> list[Tokens]:
        return [one.rows for one in wanted]


class InstantBackend(Backend):
    """A backend whose passes and samples take no time and share rows like a GPU's."""

    name, device, traits = "instant", "nothing", Traits(scores=True, pools=True)

    def __init__(self) -> None:
        self.logits: Floats = np.zeros((ROWS * max(AT_ONCE), 1, CODES), dtype=np.float32)

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return {}

    def new_cache(self, graph: str, batch: int) -> KVCache:
        return _Cache(batch)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        return self.logits[: len(inputs["tokens"])]

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> _Scores:
        return _Scores(self.logits[: len(inputs["tokens"])])

    def keep_slots(self, graph: str, cache: KVCache, slots: Tokens) -> None:
        return

    def new_pool(self, graph: str, rows: int) -> CachePool:
        return _Rows()


def inputs_of_a_pass() -> Tensors:
    """Return what a pass of one token takes, of two rows."""
    one = np.zeros((ROWS, 1), dtype=np.int64)
    return {
        "tokens": one,
        "positions": one,
        "prefix": np.zeros((ROWS, 1, DIM), dtype=np.float32),
        "slot_ranks": np.zeros((ROWS, SLOTS), dtype=np.int64),
        "write_index": np.zeros(ROWS, dtype=np.int64),
    }


def seconds_a_step(at_once: int, steps: int) -> tuple[float, int]:
    """Return the seconds of one step of one decode, and the passes of all; the fastest of some rounds."""

    def decode(shared: SharedPasses, number: int) -> None:
        place, inputs = shared.place("target", number, ROWS), inputs_of_a_pass()
        row, noise = np.zeros(1, dtype=np.int64), NoiseSource(number, 0, steps, CODES)
        for _ in range(steps):
            shared.score("target", place, inputs).sample(row, row, Distribution(), noise, None)

    rounds: list[tuple[float, int]] = []
    for _ in range(ROUNDS):
        shared = SharedPasses(InstantBackend(), at_once)
        started = time.perf_counter()
        shared.begin(*(partial(decode, shared, number) for number in range(at_once)))
        shared.close()
        rounds.append(((time.perf_counter() - started) / (at_once * steps), shared.passes))
    return min(rounds)


def table(at_once: Sequence[int], steps: int) -> str:
    """Return it in Markdown, a line a number of decodes."""
    lines = ["| decodes at once | ms a decode and step | passes |", "|---:|---:|---:|"]
    for count in at_once:
        seconds, passes = seconds_a_step(count, steps)
        lines.append(f"| {count} | {seconds * 1e3:.3f} | {passes} |")
    return "\n".join(lines)


@command
def main() -> int:
    """Measure, and print."""
    parser = command_parser("conformance.tools.measure_sharing", __doc__)
    parser.add_argument("--steps", type=int, default=1000, help="of each decode; default: %(default)s")
    steps = parser.parse_args().steps
    try:
        whole_number("--steps", steps, 1, 10**6)
    except ValueError as error:
        parser.error(str(error))
    print(table(AT_ONCE, steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())

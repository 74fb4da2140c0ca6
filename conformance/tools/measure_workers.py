"""python -m conformance.tools.measure_workers: images a second of a CPU whose cores decode together or side by side.

A pass by all cores, one image at a time or several in a session; or a worker a core, each with passes of one thread
over the same weights. All ways in turns, in one run on one machine; docs/performance.md has the figures.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mulo_sd import engines
from mulo_sd.conformance.tools.measure_service import Orders, share
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

MODES: tuple[engines.Mode | None, ...] = (None, "serial", "ar")  # None: the bundle's own settings


@dataclass(frozen=True)
class Way:
    """How images are drawn: `size` at once, by so many workers whose passes have so many threads."""

    size: int
    workers: int
    threads: int

    @property
    def label(self) -> str:
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"{self.size} at once, {workers}, {self.threads} thread{'s' if self.threads > 1 else ''} a pass"


def ways(cores: int, size: int) -> tuple[Way, ...]:
    """Return those that are compared; the second is what the third is held against."""
    return Way(1, 1, cores), Way(size, 1, cores), Way(size, cores, 1)


def images_a_second(pipeline: engines.Pipeline, way: Way, mode: engines.Mode | None, count: int) -> float:
    """Draw `count` images of the same orders in a session of its own."""
    orders = Orders()
    started = time.perf_counter()
    with pipeline.session(way.size, queue=count, workers=way.workers) as session:
        requests = [session.submit(**orders.next(), mode=mode) for _ in range(count)]
        for request in requests:
            request.result()
    return count / (time.perf_counter() - started)


def lines(bundle: Path, cores: int, size: int, count: int, rounds: int) -> Iterator[str]:
    """Yield a table in Markdown: medians of rounds, and of the ratios to the second way within each round."""
    compared = ways(cores, size)
    pipelines = {threads: engines.load(bundle, threads=threads) for threads in {way.threads for way in compared}}
    for pipeline in pipelines.values():
        for mode in MODES:
            pipeline.generate(**Orders().next(), mode=mode)
    yield f"| mode | {' | '.join(way.label for way in compared)} | the last over the one before |"
    yield "|---|" + "---:|" * (len(compared) + 1)
    for mode in MODES:
        found = [[images_a_second(pipelines[way.threads], way, mode, count) for way in compared] for _ in range(rounds)]
        ratios = [row[2] / row[1] for row in found]
        medians = [f"{share(column, 0.5):.2f}" for column in zip(*found, strict=True)]
        spread = f"{share(ratios, 0.5):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        yield f"| {mode or 'the default'} | {' | '.join(medians)} | {spread} |"


@command
def main() -> int:
    """Measure, and print."""
    parser = command_parser("conformance.tools.measure_workers", __doc__)
    parser.add_argument("--bundle", type=user_path, required=True, help="that draws, on ONNX Runtime")
    parser.add_argument("--cores", type=int, default=2, help="of the machine; default: %(default)s")
    parser.add_argument("--size", type=int, default=8, help="images at once; default: %(default)s")
    parser.add_argument("--images", type=int, default=16, help="of each figure; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="in turns; default: %(default)s")
    arguments = parser.parse_args()
    try:
        cores, size, count, rounds = (
            whole_number(f"--{name}", getattr(arguments, name), 1, most)
            for name, most in (("cores", 256), ("size", 256), ("images", 10_000), ("rounds", 1000))
        )
        for line in lines(arguments.bundle, cores, size, count, rounds):
            print(line, flush=True)
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())

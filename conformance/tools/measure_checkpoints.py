"""python -m conformance.tools.measure_checkpoints BUNDLE: one cycle in every mode, its passes, its time and its memory.

For docs/checkpoints.md. The condition is random: with random weights images are noise anyway.
"""

import contextlib
import resource
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from mulo_sd import engines
from mulo_sd.conformance.bench.workload import random_condition
from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.rules.trace import Trace

# Cells of the target after which a mode that knows no cycles is stopped.
CELLS = 40


class EnoughError(Exception):
    """A cycle is through."""


def condition_of(pipeline: engines.Pipeline) -> engines.Condition:
    """Return a random condition of the bundle's kind; a quarter of a caption's tokens is shown."""
    entry = pipeline.bundle.manifest.target
    condition = random_condition(entry, 1)
    if entry.condition == "caption":
        shown = np.arange(entry.prefix_length) >= entry.prefix_length * 3 // 4
        return engines.Condition(condition.cond * shown[:, None], shown=shown)
    if pipeline.bundle.null_conditions[0] is None:  # the demo's: the prompt makes it
        return engines.Condition(condition.cond, random_condition(entry, 2).cond)
    return condition


def one_cycle(pipeline: engines.Pipeline, mode: str, chain: tuple[int, ...]) -> tuple[Trace, float]:
    """Decode until a cycle of the target is through, or CELLS of its cells are decided; return trace and seconds."""
    settings = pipeline.settings(mode=mode, drafters=chain, draft_rows=1, look_ahead=0, tau=0.02)
    decoder: Decoder

    def stop(done: int, total: int) -> None:
        if decoder.trace.cycles_of(0) or (not settings.decoding.drafts and done >= CELLS):
            raise EnoughError

    decoder = Decoder(pipeline.bundle, pipeline.backend, condition_of(pipeline), settings, 1, stop)
    started = time.perf_counter()
    with contextlib.suppress(EnoughError):
        decoder.decode()
    return decoder.trace, time.perf_counter() - started


@command
def main() -> int:
    """Print a table."""
    parser = command_parser("conformance.tools.measure_checkpoints", __doc__)
    parser.add_argument("bundle", type=user_path, help="its folder")
    add_backend_argument(parser)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="default: all")
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        pipeline = engines.load(arguments.bundle, arguments.backend)
    except (engines.BundleError, engines.BackendError) as error:
        parser.error(str(error))
    console = Console(width=110)
    console.print(f"opened in {time.perf_counter() - started:.1f} s")
    table = Table(title=str(arguments.bundle))
    for column in (
        "mode",
        "seconds",
        "target passes",
        "drafter passes",
        "tokens fed",
        "largest pass",
        "peak GB so far",
    ):
        table.add_column(column, justify="right")
    chain = tuple(range(1, len(pipeline.bundle.manifest.models)))
    for mode in arguments.modes:
        trace, seconds = one_cycle(pipeline, mode, chain)
        fed = [len(item.tokens) for item in trace.passes]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        row = (seconds, trace.nfe(0), len(fed) - trace.nfe(0), sum(fed), max(fed), peak)
        table.add_row(mode, *(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row))
        print(mode, row, flush=True)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

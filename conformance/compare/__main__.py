"""python -m conformance.compare: every method on the same engine, by passes, seconds, score, distance to AR and memory.

A row is a method at one setting; all rows draw the same prompts with the same seeds, and AR stands beside them. Run
again with the same --out, it draws only what is missing. --row draws one row of docs/comparison.md again.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mulo_sd import engines
from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.compare.cost import measure_costs, read_costs, write_costs
from mulo_sd.conformance.compare.entries import CONTROLS, ENTRIES, Entry, entries_of
from mulo_sd.conformance.compare.lines import CompareLine, cheapest, compare_lines, complete
from mulo_sd.conformance.compare.methods import METHODS
from mulo_sd.conformance.compare.report import REPORT_NAMES, Report, write_report
from mulo_sd.conformance.compare.tables import every_row
from mulo_sd.conformance.study.draw import check_weights
from mulo_sd.conformance.study.rows import StudyError, check_folder, sole_writer
from mulo_sd.conformance.study.run import Identities, draw_missing, identities_of, read_results
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.worlds.choice import add_world_arguments, asked_bundle, folder_of, sure_world_of
from mulo_sd.conformance.worlds.world import World, WorldError
from mulo_sd.engines.bundle import Manifest
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.interrupts import signals_interrupt
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import make_folder
from mulo_sd.engines.rules.noise import BLOCK, HEAD

# Prompts of all tasks together.
PROMPTS, CONFIRM_PROMPTS, BEST = 240, 960, 5
# Of the arguments that are numbers: lowest and highest.
RANGES = {"per_task": (1, 1000), "confirm_per_task": (1, 1000), "workers": (1, 256), "rounds": (1, 100)}
RANGES |= {"resamples": (10, 100_000)}


def _arguments() -> argparse.Namespace:
    parser = command_parser("conformance.compare", __doc__)
    add_world_arguments(parser)
    parser.add_argument(
        "--out",
        type=user_path,
        default=Path("compare"),
        help="folder of rows and report, resumed there; those of pictograms lie in a folder of their own inside it; "
        "default: %(default)s",
    )
    parser.add_argument("--row", nargs="+", metavar="NAME", help="only these rows, by the names in the tables, and AR")
    parser.add_argument(
        "--methods", nargs="+", metavar="METHOD", help=f"only rows of these: {', '.join(item.name for item in METHODS)}"
    )
    parser.add_argument("--per-task", type=int, help=f"held-out prompts of each task; default: {PROMPTS} in all")
    parser.add_argument(
        "--confirm", action="store_true", help=f"then draw the {BEST} best methods over --confirm-per-task prompts"
    )
    parser.add_argument(
        "--confirm-per-task", type=int, help=f"held-out prompts of each task; default: {CONFIRM_PROMPTS} in all"
    )
    parser.add_argument("--time", action="store_true", help="draw no table; measure seconds and memory of the rows")
    parser.add_argument("--rounds", type=int, default=1, help="with --time: of a prompt of each task; default: 1")
    parser.add_argument("--threads", type=int, help="with --time, of the CPU; default: the runtime's choice")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; default: %(default)s")
    parser.add_argument("--resamples", type=int, default=200, help="of the prompts, for the intervals of distances")
    parser.add_argument("--report-only", action="store_true", help="draw nothing; report what is there")
    return parser.parse_args()


def _check(arguments: argparse.Namespace) -> list[Entry]:
    """Return the rows that are asked for.

    Raises:
        StudyError: an argument is out of its range.
    """
    for name, (lowest, highest) in RANGES.items():
        value = getattr(arguments, name)
        if value is not None and not lowest <= value <= highest:
            raise StudyError(f"--{name.replace('_', '-')}: expected {lowest}..{highest}, got {value}")
    if arguments.time and (arguments.report_only or arguments.confirm):
        raise StudyError("--time: expected neither --report-only nor --confirm beside it")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise StudyError(f"--out: expected a folder, got the file {arguments.out}")
    try:
        entries = entries_of(arguments.row, arguments.methods)
    except ValueError as error:
        raise StudyError(str(error)) from None
    return entries


@dataclass(frozen=True)
class Run:
    """What the arguments ask for: of which world, and where it goes."""

    arguments: argparse.Namespace
    bundle: Path
    world: World
    folder: Path

    @property
    def per_task(self) -> int:
        """Prompts of each task in the table."""
        return self._per_task(self.arguments.per_task, PROMPTS)

    @property
    def confirm_per_task(self) -> int:
        """Prompts of each task in the table over many."""
        return self._per_task(self.arguments.confirm_per_task, CONFIRM_PROMPTS)

    def _per_task(self, asked: int | None, prompts: int) -> int:
        return asked or -(-prompts // len(self.world.tasks))

    def draw(self, variants: list[Variant], identities: Identities, per_task: int) -> None:
        """Draw what is missing of some variants, with no other run beside."""
        with sole_writer(self.folder):
            draw_missing(
                variants,
                identities,
                self.folder,
                bundle=self.bundle,
                world=self.world,
                per_task=per_task,
                timing_per_task=0,
                workers=self.arguments.workers,
            )

    def time(self, entries: list[Entry], identities: Identities, console: Console) -> None:
        """Measure what the rows cost, alone on the machine."""
        pipeline = engines.load(self.bundle, threads=self.arguments.threads)
        named = {entry.name: identities.get((entry.variant.section, entry.variant.name)) for entry in entries}
        known = {name: identity for name, identity in named.items() if identity is not None}
        timed = [entry for entry in entries if entry.name in known]
        done = []

        def advance(text: str) -> None:
            done.append(text)
            if console.is_terminal:
                console.print(f"{len(done)}: {text}", end="\r", highlight=False)

        costs = measure_costs(timed, known, self.bundle, pipeline, self.world, self.arguments.rounds, advance)
        with sole_writer(self.folder):
            write_costs(self.folder, costs)


def _layers(manifest: Manifest) -> dict[str, int]:
    """Return the layers of every model by its number in traces (RNG-2)."""
    numbered: list[PassesEntry | None] = [*manifest.models]
    layers = {str(number): entry.layers for number, entry in enumerate(numbered) if entry is not None}
    beside = {HEAD: manifest.head, BLOCK: manifest.block}
    return layers | {str(number): entry.layers for number, entry in beside.items() if entry is not None}


def _lines(
    results: Results, folder: Path, per_task: int, layers: dict[str, int]
) -> tuple[list[CompareLine], dict[str, int]]:
    """Return lines of all that was drawn over so many prompts, and how many the other rows have."""
    groups, short = complete(ENTRIES, results, per_task, len(results.world.tasks))
    return compare_lines(ENTRIES, groups, results, read_costs(folder), layers), short


def _run(arguments: argparse.Namespace, console: Console) -> None:
    """Do what the arguments ask for, and write the report."""
    entries = _check(arguments)
    path = asked_bundle(arguments)
    pipeline = engines.load(path, threads=1)
    world = sure_world_of(pipeline.bundle, arguments.world)
    run = Run(arguments, path, world, folder_of(arguments.out, world.name))
    check_folder(run.folder, REPORT_NAMES)
    check_weights(pipeline, world)
    layers = _layers(pipeline.bundle.manifest)
    everything = [*CONTROLS, *(entry.variant for entry in ENTRIES)]
    identities, missing = identities_of(everything, pipeline)
    if not arguments.report_only:
        make_folder(run.folder)
    if arguments.time:
        run.time(entries, identities, console)
    elif not arguments.report_only:
        run.draw([*CONTROLS, *(entry.variant for entry in entries)], identities, run.per_task)
    results = read_results(run.folder, identities, arguments.resamples, world)
    lines, short = _lines(results, run.folder, run.per_task, layers)
    best = [line.entry for line in cheapest(lines)[:BEST]]
    if arguments.confirm and not arguments.report_only:
        run.draw([CONTROLS[0], *(entry.variant for entry in best)], identities, run.confirm_per_task)
        results = read_results(run.folder, identities, arguments.resamples, world)
    confirmed, _ = _lines(results, run.folder, run.confirm_per_task, layers)
    for written in write_report(Report(world, lines, confirmed, short, missing), run.folder):
        console.print(str(written), highlight=False, soft_wrap=True)
    if arguments.row:
        asked = [line for line in lines if line.entry.name in arguments.row]
        console.print(every_row(asked), highlight=False, soft_wrap=True)


@command
def main() -> int:
    """Draw what is missing, or measure what rows cost; then write the report of everything in the folder."""
    arguments = _arguments()
    try:
        with signals_interrupt():
            _run(arguments, Console())
    except (engines.BundleError, engines.BackendError, BenchError, StudyError, WorldError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""python -m conformance.study: draw a world in every setting and report score, passes, speed and distance to AR.

Beside every setting stand two controls: everything accepted (tau 0), and an oracle draft (the
low-resolution tokens of the real scene), which isolates verification and resampling from the drafter.
Run again with the same --out, it draws only what is missing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mulo_sd import engines
from mulo_sd.conformance.study.confirm import confirm_variants, fixed_variants
from mulo_sd.conformance.study.draw import check_weights
from mulo_sd.conformance.study.report import report_names, write_report
from mulo_sd.conformance.study.rows import StudyError, check_folder, read_rows, sole_writer
from mulo_sd.conformance.study.run import Identities, draw_missing, identities_of, read_results
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import SECTIONS, variants_of
from mulo_sd.conformance.worlds.choice import add_world_arguments, asked_bundle, folder_of, sure_world_of
from mulo_sd.conformance.worlds.world import World, WorldError
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.interrupts import signals_interrupt
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import make_folder

# Of all tasks together.
SECTION_PROMPTS, CONFIRM_PROMPTS = 60, 960


def _arguments() -> argparse.Namespace:
    parser = command_parser("conformance.study", __doc__)
    add_world_arguments(parser)
    parser.add_argument(
        "--out",
        type=user_path,
        required=True,
        help="folder of rows and report, resumed there; those of pictograms lie in a folder of their own inside it",
    )
    parser.add_argument(
        "--per-task",
        type=int,
        help=f"held-out prompts of each task; default: {SECTION_PROMPTS} in all, with --confirm {CONFIRM_PROMPTS}",
    )
    parser.add_argument(
        "--timing-per-task",
        type=int,
        default=5,
        help="so many of them are timed in mode ar; the rest are drawn in batches, several times cheaper",
    )
    parser.add_argument("--sections", nargs="+", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="only these, by the names in the tables")
    parser.add_argument(
        "--confirm", action="store_true", help="after the sections: only the variants of the claims, over many prompts"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--resamples", type=int, default=200, help="of the prompts, for the bootstrap intervals")
    parser.add_argument("--report-only", action="store_true", help="draw nothing; report what is there")
    return parser.parse_args()


def _check(arguments: argparse.Namespace) -> list[Variant]:
    """Return the variants that are asked for.

    Raises:
        StudyError: an argument is out of its range.
    """
    for name, lowest, highest in (
        ("per_task", 1, 1000),
        ("timing_per_task", 0, 1000),
        ("workers", 1, 256),
        ("resamples", 10, 100_000),
    ):
        value = getattr(arguments, name)
        if value is not None and not lowest <= value <= highest:
            raise StudyError(f"--{name.replace('_', '-')}: expected {lowest}..{highest}, got {value}")
    if arguments.confirm and (arguments.sections or arguments.only):
        raise StudyError("--confirm: expected neither --sections nor --only beside it; it draws the claims' variants")
    for name in arguments.sections or []:
        if name not in SECTIONS:
            raise StudyError(f"--sections: expected some of {', '.join(SECTIONS)}; got {name!r}")
    listed = variants_of(arguments.sections)
    known = {item.name for item in listed}
    for name in arguments.only or []:
        if name not in known:
            raise StudyError(f"--only: expected names of the study's tables, such as 'default' or 'AR'; got {name!r}")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise StudyError(f"--out: expected a folder, got the file {arguments.out}")
    if arguments.confirm:
        return fixed_variants()
    return [item for item in listed if arguments.only is None or item.name in arguments.only]


@dataclass(frozen=True)
class Run:
    """What the arguments ask for: how much of which world, and where it goes."""

    arguments: argparse.Namespace
    bundle: Path
    world: World
    folder: Path

    def draw(self, variants: Sequence[Variant], identities: Identities) -> None:
        """Draw what is missing of some variants, with no other run beside."""
        asked = self.arguments
        prompts = CONFIRM_PROMPTS if asked.confirm else SECTION_PROMPTS
        with sole_writer(self.folder):
            draw_missing(
                variants,
                identities,
                self.folder,
                bundle=self.bundle,
                world=self.world,
                per_task=asked.per_task or -(-prompts // len(self.world.tasks)),
                timing_per_task=asked.timing_per_task,
                workers=asked.workers,
            )


def _study(arguments: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """Draw what is missing and report; return the report's files, and what the bundle cannot draw.

    Raises:
        Exception: as `main` catches.
    """
    variants = _check(arguments)
    path = asked_bundle(arguments)
    pipeline = engines.load(path, threads=1)
    world = sure_world_of(pipeline.bundle, arguments.world)
    run = Run(arguments, path, world, folder_of(arguments.out, world.name))
    check_folder(run.folder, report_names(tuple(SECTIONS)))
    check_weights(pipeline, world)
    everything = variants_of()
    identities, missing = identities_of([*everything, *fixed_variants()], pipeline)
    if not arguments.report_only:
        make_folder(run.folder)
        run.draw(variants, identities)
    # Only now: the default's passes, of which the ZipAR of equal passes follows, are those of all its prompts.
    confirmed = confirm_variants(read_rows(run.folder), identities)
    identities |= identities_of(confirmed, pipeline)[0]
    if arguments.confirm and not arguments.report_only:
        run.draw(confirmed, identities)
    results = read_results(run.folder, identities, arguments.resamples, world)
    return write_report([*everything, *confirmed], results, missing, run.folder), missing


@command
def main() -> int:
    """Draw what is missing, then write the report of everything in the folder."""
    arguments = _arguments()
    try:
        with signals_interrupt():
            written, missing = _study(arguments)
    except (engines.BundleError, engines.BackendError, StudyError, WorldError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    console = Console()
    for line in missing:
        console.print(f"not in this bundle: {line}", highlight=False, soft_wrap=True)
    for path in written:
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

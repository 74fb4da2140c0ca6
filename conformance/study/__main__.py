"""python -m conformance.study: draw the demo in every setting and report score, passes, speed and distance to AR.

Beside every setting stand two controls: everything accepted (tau 0), and an oracle draft (the
low-resolution tokens of the real scene), which isolates verification and resampling from the drafter.
Run again with the same --out, it draws only what is missing.
"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from mulo_sd import engines
from mulo_sd.conformance.study.confirm import confirm_variants, fixed_variants
from mulo_sd.conformance.study.draw import check_weights
from mulo_sd.conformance.study.report import report_names, write_report
from mulo_sd.conformance.study.rows import StudyError, check_folder, read_rows, sole_writer
from mulo_sd.conformance.study.run import Identities, draw_missing, identities_of, read_results
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import SECTIONS, variants_of
from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.commands.demo_bundle import demo_bundle_path
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import make_folder

SECTION_PER_TASK, CONFIRM_PER_TASK = 10, 160


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("conformance.study"), description=purpose(__doc__))
    parser.add_argument("--bundle", type=user_path, default=demo_bundle_path("fp32"), help="default: %(default)s")
    parser.add_argument("--out", type=user_path, required=True, help="folder of rows and report; resumes there")
    parser.add_argument(
        "--per-task", type=int, help="held-out prompts of each of the six tasks; default: 10, with --confirm 160"
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
    arguments = parser.parse_args()
    if arguments.per_task is None:
        arguments.per_task = CONFIRM_PER_TASK if arguments.confirm else SECTION_PER_TASK
    return arguments


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
        if not lowest <= value <= highest:
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
    check_folder(arguments.out, report_names(tuple(SECTIONS)))
    if arguments.confirm:
        return fixed_variants()
    return [item for item in listed if arguments.only is None or item.name in arguments.only]


def _draw(arguments: argparse.Namespace, variants: Sequence[Variant], identities: Identities) -> None:
    """Draw what is missing of the variants that are asked for, with no other run beside."""
    with sole_writer(arguments.out):
        draw_missing(
            variants,
            identities,
            arguments.out,
            bundle=arguments.bundle,
            per_task=arguments.per_task,
            timing_per_task=arguments.timing_per_task,
            workers=arguments.workers,
        )


@command
def main() -> int:
    """Draw what is missing, then write the report of everything in the folder."""
    arguments = _arguments()
    try:
        variants = _check(arguments)
        pipeline = engines.load(arguments.bundle, threads=1)
        check_weights(pipeline)
        everything = variants_of()
        identities, missing = identities_of([*everything, *fixed_variants()], pipeline)
        if not arguments.report_only:
            make_folder(arguments.out)
            _draw(arguments, variants, identities)
        # Only now: the default's passes, of which the ZipAR of equal passes follows, are those of all its prompts.
        confirmed = confirm_variants(read_rows(arguments.out), identities)
        identities |= identities_of(confirmed, pipeline)[0]
        if arguments.confirm and not arguments.report_only:
            _draw(arguments, confirmed, identities)
        written = write_report(
            [*everything, *confirmed],
            read_results(arguments.out, identities, arguments.resamples),
            missing,
            arguments.out,
        )
    except (engines.BundleError, engines.BackendError, StudyError, OSError) as error:
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

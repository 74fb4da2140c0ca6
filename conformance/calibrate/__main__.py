"""python -m conformance.calibrate: the fastest settings and presets that keep an agreement with a bundle's target.

Agreement is measured against MODE-AR at the same prompts and seeds: in the demo and in pictograms by the scene
score (`--by scene`), elsewhere by the target's own likelihood of the tokens (`--by likelihood`). The image distance to
AR is shown beside.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mulo_sd import engines
from mulo_sd.conformance.calibrate.candidates import Candidate, candidates_of
from mulo_sd.conformance.calibrate.figure import draw_frontier
from mulo_sd.conformance.calibrate.measure import Meter
from mulo_sd.conformance.calibrate.prompts import PromptFileError, read_prompts
from mulo_sd.conformance.calibrate.search import Choice, Measured, Sample, choose, search
from mulo_sd.conformance.worlds.choice import add_world_argument, world_of
from mulo_sd.conformance.worlds.world import World, WorldError
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import FEWEST_PASSES_PRESET, WINDOWS_PRESET
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.bundle.write_settings import check_room_for, write_settings
from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import BUNDLE_HELP, ready_bundle
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.numbers import MAX_THREADS

LOCAL_MODES = tuple(name for name, mode in MODES.items() if mode.is_local)
KEEP = {"scene": 0.02, "likelihood": 0.1}
KEEP_HELP = f"{KEEP['scene']:g} of the scenes, or {KEEP['likelihood']:g} nats a token"


def _arguments() -> argparse.Namespace:
    parser = command_parser("conformance.calibrate", __doc__)
    parser.add_argument(
        "--bundle", type=user_path, required=True, help=f"{BUNDLE_HELP}; its settings are written, unless --dry-run"
    )
    add_world_argument(parser)
    parser.add_argument("--prompts", type=user_path, required=True, help="text file, a prompt a line")
    parser.add_argument("--budget", type=float, required=True, metavar="MINUTES", help="to search for")
    parser.add_argument("--mode", choices=LOCAL_MODES, default="parallel", help="default: %(default)s")
    parser.add_argument(
        "--by", choices=tuple(KEEP), help="what agreement means; default: scene, where the bundle draws a world of ours"
    )
    parser.add_argument("--keep", type=float, help=f"agreement that may be lost; default: {KEEP_HELP}")
    add_backend_argument(parser)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, for ort and your own; default: 1")
    parser.add_argument("--text-model", metavar="NAME", help="folder or name of flan-t5-xl or of Tar's language model")
    parser.add_argument(
        "--figure",
        type=user_path,
        help="PNG of the frontier; default: calibration.png beside the prompts, none with --dry-run",
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing but what --figure asks for")
    arguments = parser.parse_args()
    if not 0 < arguments.budget <= 1e5:
        parser.error(f"--budget: expected minutes above 0, got {arguments.budget:g}")
    if arguments.keep is not None and not 0 <= arguments.keep <= 1e3:
        parser.error(f"--keep: expected a number from 0 on, got {arguments.keep:g}")
    if not 1 <= arguments.threads <= MAX_THREADS:
        parser.error(f"--threads: expected a whole number in 1..{MAX_THREADS}, got {arguments.threads}")
    return arguments


def _print_table(measured: list[Measured], meter: Meter, chosen: Measured | None, console: Console) -> None:
    table = Table(title="candidates, the longest measured first")
    for column in ("settings", "prompts", "agreement lost", "passes", "s an image", "distance to AR"):
        table.add_column(column, justify="left" if column == "settings" else "right")
    shown = [item for item in measured if item.samples]
    for item in sorted(shown, key=lambda item: (-len(item.samples), item.cost)):
        seconds, passes = item.cost
        table.add_row(
            ("* " if item is chosen else "") + item.candidate.name,
            str(len(item.samples)),
            f"{0 - item.agreement:.3f}",
            f"{passes:.0f}",
            f"{seconds:.2f}",
            f"{mean(meter.distances[item.candidate]):.1f}",
        )
    console.print(table)


def _figure(arguments: argparse.Namespace) -> Path | None:
    """Return where the figure goes; None for nowhere.

    Raises:
        PromptFileError: what will be written cannot be.
    """
    figure: Path | None = arguments.figure
    if figure is None and not arguments.dry_run:
        figure = arguments.prompts.with_name("calibration.png")
    manifest = None if arguments.dry_run else arguments.bundle / MANIFEST_NAME
    for path in (figure, manifest):
        try:
            if path is not None:
                check_writable(path)
        except OSError as error:
            raise PromptFileError(f"{path}: cannot write it: {error.strerror or error}") from None
    if figure is not None and figure.suffix.lower() != ".png":
        raise PromptFileError(f"{figure}: expected a file name that ends in .png, got {figure.suffix!r}")
    return figure


def _judge(arguments: argparse.Namespace, bundle: Bundle) -> World | None:
    """Return the world whose evaluator says what agreement is; None where likelihood does.

    Raises:
        PromptFileError: scenes are asked for, and the bundle draws none that can be judged.
        WorldError: the bundle is of another family than --world's, or its world is not installed.
    """
    if arguments.by == "likelihood" and arguments.world is None:
        return None
    world = world_of(bundle, arguments.world)
    if arguments.by == "scene" and world is None:
        raise PromptFileError("by: expected likelihood, since the bundle draws no world with an evaluator, got scene")
    return None if arguments.by == "likelihood" else world


def _run(arguments: argparse.Namespace, console: Console) -> int:
    read_prompts(arguments.prompts, str)  # a wrong file is told before a bundle is opened
    arguments.bundle = ready_bundle(arguments.bundle, arguments.backend, console.print)
    pipeline = engines.load(arguments.bundle, arguments.backend, arguments.threads, arguments.text_model)
    if not arguments.dry_run:
        check_room_for((WINDOWS_PRESET, FEWEST_PASSES_PRESET), pipeline.bundle.manifest)
    judge = _judge(arguments, pipeline.bundle)
    by = "likelihood" if judge is None else "scene"
    # Once more: now an error names the line that is not understood.
    prompts = read_prompts(arguments.prompts, pipeline.check_prompt if judge is None else judge.check)
    figure = _figure(arguments)
    meter = Meter(pipeline, prompts, arguments.mode, judge)
    lost = KEEP[by] if arguments.keep is None else arguments.keep
    started, seconds = time.monotonic(), 60 * arguments.budget
    columns = (TextColumn("{task.description:40}"), BarColumn(), TextColumn("{task.percentage:.0f}% of the budget"))
    in_terminal = console.is_terminal  # into a file it would leave an empty line
    with Progress(
        *(*columns, TimeElapsedColumn()), console=console, transient=True, disable=not in_terminal
    ) as progress:
        bar = progress.add_task("", total=seconds)

        def measure(candidate: Candidate, number: int) -> Sample:
            progress.update(bar, description=candidate.name, completed=min(seconds, time.monotonic() - started))
            return meter.measure(candidate, number)

        measured = search(
            candidates_of(
                arguments.mode, pipeline.bundle.manifest.max_neighbours, pipeline.settings(mode=arguments.mode).anchor
            ),
            len(prompts),
            -lost,
            measure,
            lambda: time.monotonic() - started < seconds,
        )
    if not any(item.samples for item in measured):
        print(f"error: --budget: {arguments.budget:g} minutes measured no candidate; give more", file=sys.stderr)
        return 2
    choice = choose([item for item in measured if item.samples], -lost)
    _print_table(measured, meter, choice.fastest, console)
    skipped = sum(not item.samples for item in measured)
    if skipped:
        console.print(f"{skipped} of {len(measured)} candidates were not reached within the budget")
    autoregressive = mean(item.result.stats.seconds for item in meter.baselines.values())
    console.print(f"autoregressive: {autoregressive:.2f} s an image")
    if figure is not None:
        draw_frontier(measured, choice.fastest, -lost, autoregressive, figure)
        console.print(f"wrote {figure}")
    if choice.fastest is None:
        print(f"error: no candidate loses at most {lost:g}; give another --keep or better models", file=sys.stderr)
        return 1
    if not arguments.dry_run:
        _write(arguments, pipeline, choice.fastest, _presets(choice, measured), console)
    return 0


def _presets(choice: Choice, measured: list[Measured]) -> dict[str, Measured]:
    """Return what becomes a preset, by name; nothing of a mode that does not choose between windows and sweeps."""
    if not any(item.candidate.is_by_sweeps for item in measured):
        return {}
    named = {WINDOWS_PRESET: choice.by_windows, FEWEST_PASSES_PRESET: choice.fewest_passes}
    return {name: item for name, item in named.items() if item is not None}


def _write(
    arguments: argparse.Namespace,
    pipeline: engines.Pipeline,
    fastest: Measured,
    presets: dict[str, Measured],
    console: Console,
) -> None:
    """Write settings and presets into the bundle, and say which."""

    def settings(item: Measured) -> engines.Settings:
        return pipeline.settings(mode=arguments.mode, **vars(item.candidate))

    own = settings(fastest)
    if own.sweep_width is None:  # the same images (SWEEP-6), and mode ar stays as fast as it is
        own = own.changed(sweep_width="auto")
    write_settings(arguments.bundle, own, {name: settings(item) for name, item in presets.items()})
    console.print(f"wrote {fastest.candidate.name}, mode {arguments.mode}, into {arguments.bundle}")
    for name, item in presets.items():
        console.print(f"wrote preset {name}: {item.candidate.name}")


@command
def main() -> int:
    """Search, show the frontier, and write the choice into the bundle."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        return _run(arguments, console)
    except (
        *(PromptFileError, WorldError, engines.PromptError, engines.ConditionError),
        *(engines.BundleError, engines.BackendError, engines.SettingsError),
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: cannot write it: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; the bundle is as it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

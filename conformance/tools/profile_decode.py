"""python -m conformance.tools.profile_decode: where the milliseconds of a demo decode go, as tables."""

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mulo_sd import engines
from mulo_sd.conformance.bench.demo_table import Drawn, draw_timed
from mulo_sd.conformance.bench.modes import ENGINE_MODES
from mulo_sd.conformance.bench.reference_side import held_out_drawings
from mulo_sd.conformance.bench.timed import Call, TimedBackend
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import demo_bundle_path
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number
from mulo_sd.engines.service.pipeline import Pipeline

# Passes of more tokens verify; others decide.
VERIFIES = 64
MAX_REPEAT = 1000
HOST = "host: schedules, islands, bookkeeping"


def part_of(call: Call) -> str:
    """Return what a call is for."""
    if call.kind == "pass":
        what = "verification or prefill" if call.fed > VERIFIES else "steps"
        return f"{'target' if call.graph == 'target' else 'drafters'}: {what}"
    if call.kind == "scores":
        return "sampling and acceptance, noise included"
    return "caches" if call.kind == "cache" else "up- and down-samplers, tokens to pixels"


def measured(call: Callable[[], Drawn], timer: TimedBackend, repeat: int) -> dict[str, list[list[float]]]:
    """Return the milliseconds of the calls of each part, a list for each of `repeat` decodes.

    Args:
        call: Draws.
        timer: Whose calls are those of that drawing.
        repeat: Decodes that are measured; one more comes before them.
    """
    call()
    parts: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(repeat):
        accounts, calls = call().accounts, defaultdict[str, list[float]](list)
        for made in timer.calls:
            calls[part_of(made)].append(1e3 * made.seconds)
        calls[HOST].append(1e3 * accounts.wall * accounts.host_share)
        for part, milliseconds in calls.items():
            parts[part].append(milliseconds)
    return parts


def table(title: str, parts: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Return a table in Markdown: of each part its calls, the median of its sums, and its share."""
    medians = {part: statistics.median(sum(calls) for calls in decodes) for part, decodes in parts.items()}
    total = sum(medians.values())
    lines = ["", f"| {title} | calls | ms | share |", "|---|---|---|---|"]
    for part, value in sorted(medians.items(), key=lambda item: -item[1]):
        calls = "" if part == HOST else str(len(parts[part][-1]))
        lines.append(f"| {part} | {calls} | {value:.1f} | {value / total:.1%} |")
    return "\n".join([*lines, f"| all | | {total:.0f} | |"])


@command
def main() -> int:
    """Draw, and print a table for each mode."""
    names = [mode.name for mode in ENGINE_MODES]
    parser = command_parser("conformance.tools.profile_decode", __doc__)
    parser.add_argument("--bundle", type=user_path, default=demo_bundle_path(), help="its folder; default: %(default)s")
    chosen = ["ar", "ar-sweeps", "cascade", "sweeps"]
    parser.add_argument("--modes", nargs="+", choices=names, default=chosen, help="default: " + " ".join(chosen))
    parser.add_argument("--repeat", type=int, default=5, help="decodes of a mode; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        repeat = whole_number("--repeat", arguments.repeat, 1, MAX_REPEAT)
        pipeline = engines.load(arguments.bundle, threads=arguments.threads)
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    timer = TimedBackend(pipeline.backend)
    wrapped = Pipeline(pipeline.bundle, timer)
    drawing = held_out_drawings(DemoWorld(), 1)[0]
    for mode in (mode for mode in ENGINE_MODES if mode.name in arguments.modes):
        draw = partial(draw_timed, wrapped, timer, drawing, pipeline.settings(**mode.changes))
        print(table(mode.label, measured(draw, timer, repeat)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

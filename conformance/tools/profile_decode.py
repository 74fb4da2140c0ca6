"""python -m conformance.tools.profile_decode: where the milliseconds of a demo decode go, as tables."""

import argparse
import statistics
import sys
from collections import defaultdict

from mulo_sd import engines
from mulo_sd.conformance.bench.demo_table import draw_timed
from mulo_sd.conformance.bench.modes import ENGINE_MODES
from mulo_sd.conformance.bench.reference_side import held_out_drawings
from mulo_sd.conformance.bench.timed import Call, timed
from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.commands.demo_bundle import demo_bundle_path
from mulo_sd.engines.service.pipeline import Pipeline

# Passes of more tokens verify; others decide.
VERIFIES = 64


def part_of(call: Call) -> str:
    """Return what a call is for."""
    if call.kind == "pass":
        what = "verification or prefill" if call.fed > VERIFIES else "steps"
        return f"{'target' if call.graph == 'target' else 'drafters'}: {what}"
    if call.kind == "scores":
        return "sampling and acceptance, noise included"
    return "caches" if call.kind == "cache" else "up- and down-samplers, tokens to pixels"


@command
def main() -> int:
    """Draw, and print a table for each mode."""
    parser = argparse.ArgumentParser(prog=program("conformance.tools.profile_decode"), description=purpose(__doc__))
    parser.add_argument("--modes", nargs="+", default=["ar", "serial", "cascade"], help="default: %(default)s")
    parser.add_argument("--repeat", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    arguments = parser.parse_args()
    pipeline = engines.load(demo_bundle_path(), threads=arguments.threads)
    timer = timed(pipeline.backend)
    wrapped = Pipeline(pipeline.bundle, timer)
    drawing = held_out_drawings(1)[0]
    for mode in (mode for mode in ENGINE_MODES if mode.name in arguments.modes):
        settings = pipeline.settings(**mode.changes)
        draw_timed(wrapped, timer, drawing, settings)
        milliseconds: dict[str, list[float]] = defaultdict(list)
        counts: dict[str, int] = {}
        for _ in range(arguments.repeat):
            accounts = draw_timed(wrapped, timer, drawing, settings).accounts
            found: dict[str, list[float]] = defaultdict(list)
            for call in timer.calls:
                found[part_of(call)].append(1e3 * call.seconds)
            found["host: schedules, islands, bookkeeping"] = [1e3 * accounts.wall * accounts.host_share]
            for part, values in found.items():
                milliseconds[part].append(sum(values))
                counts[part] = len(values)
        medians = {part: statistics.median(values) for part, values in milliseconds.items()}
        total = sum(medians.values())
        print(f"\n| {mode.label} | calls | ms | share |\n|---|---|---|---|")
        for part, value in sorted(medians.items(), key=lambda item: -item[1]):
            calls = "" if part.startswith("host") else str(counts[part])
            print(f"| {part} | {calls} | {value:.1f} | {value / total:.1%} |")
        print(f"| all | | {total:.0f} | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

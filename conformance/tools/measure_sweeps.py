"""python -m conformance.tools.measure_sweeps: AR by sweeps and the presets against one token a pass, as a table.

Every prompt is drawn in every way, in shuffled order, so that ratios are of pairs; their intervals are bootstrapped
over the prompts. What sweeps of each width decide on average is where `engines/rules/widths.py` has it from.
"""

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

import numpy as np

from mulo_sd import engines
from mulo_sd.conformance.bench.modes import ENGINE_MODES
from mulo_sd.conformance.bench.reference_side import held_out_drawings
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import demo_bundle_path
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

MAX_PROMPTS = 1000
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256)
ONE_BY_ONE = "ar"
RESAMPLES = 2000


@dataclass
class Drawn:
    """What one way took, a number a prompt."""

    seconds: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    decided: list[float] = field(default_factory=list)  # by a sweep of the target, on average
    same: list[bool] = field(default_factory=list)  # whether the tokens are those of one token a pass


def ways() -> dict[str, Mapping[str, Any]]:
    """Return the benchmark's modes and AR by sweeps of every width, by name."""
    widths = {f"ar, width {width}": {"mode": "ar", "sweep_width": width} for width in WIDTHS}
    return {mode.name: mode.changes for mode in ENGINE_MODES} | widths


def ratio_interval(one_by_one: Sequence[float], own: Sequence[float]) -> tuple[float, float, float]:
    """Return how many times as fast, and its 95% interval over resampled prompts; NaN ends for a single prompt."""
    theirs, ours = np.array(one_by_one), np.array(own)
    chosen = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    drawn = theirs[chosen].sum(axis=1) / ours[chosen].sum(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(ours) > 1 else (np.nan, np.nan)
    return float(theirs.sum() / ours.sum()), float(low), float(high)


def measure(pipeline: engines.Pipeline, names: Sequence[str], prompts: int) -> dict[str, Drawn]:
    """Draw held-out prompts in some ways; the first drawing of each does not count."""
    changes, drawn = ways(), {name: Drawn() for name in names}
    order = random.Random(0)
    for number, drawing in enumerate(held_out_drawings(DemoWorld(), prompts)):
        shuffled, images = [*names], {}
        order.shuffle(shuffled)
        for name in shuffled:
            own = drawn[name]
            for _ in range(1 if number else 2):
                result = pipeline.generate(drawing.text, drawing.seed, plan=drawing.plan, **changes[name])
            images[name] = result.tokens
            sweeps = result.trace.sweeps_of(0)
            own.seconds.append(result.stats.seconds)
            own.passes.append(result.stats.nfe_target + result.stats.nfe_drafter)
            own.decided.append(fmean(float(sweep.decided.sum()) for sweep in sweeps) if sweeps else 0.0)
        for name in names:
            drawn[name].same.append(bool((images[name] == images[ONE_BY_ONE]).all()))
    return drawn


def table(drawn: Mapping[str, Drawn]) -> str:
    """Return it in Markdown, a line a way."""
    columns = ("way", "passes", "decided by a sweep", "seconds", "x one token a pass", "same tokens")
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, own in drawn.items():
        times, low, high = ratio_interval(drawn[ONE_BY_ONE].seconds, own.seconds)
        lines.append(
            f"| {name} | {fmean(own.passes):.1f} | {fmean(own.decided):.2f} | {median(own.seconds):.3f} | "
            f"{times:.2f} ({low:.2f}-{high:.2f}) | {sum(own.same)} of {len(own.same)} |"
        )
    return "\n".join(lines)


@command
def main() -> int:
    """Draw, and print the table."""
    parser = command_parser("conformance.tools.measure_sweeps", __doc__)
    parser.add_argument("--bundle", type=user_path, default=demo_bundle_path(), help="its folder; default: %(default)s")
    parser.add_argument("--prompts", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--ways", nargs="+", choices=tuple(ways()), default=list(ways()), help="default: all")
    arguments = parser.parse_args()
    try:
        prompts = whole_number("--prompts", arguments.prompts, 1, MAX_PROMPTS)
        pipeline = engines.load(arguments.bundle, threads=arguments.threads)
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    print(table(measure(pipeline, [ONE_BY_ONE, *(name for name in arguments.ways if name != ONE_BY_ONE)], prompts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

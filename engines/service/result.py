"""What a drawing begins and ends with: what it was asked for, held against the bundle, and the image."""

from dataclasses import dataclass

from PIL import Image

from mulo_sd.engines.conditions import Described
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.prompts import Plan
from mulo_sd.engines.rules.trace import Trace
from mulo_sd.engines.settings import Settings


@dataclass(frozen=True)
class Prepared:
    """A prompt, settings and a seed that fit the bundle.

    Attributes:
        described: The prompt in numbers.
        settings: How to decode.
        seed: 0..2^64 - 1.
    """

    described: Described
    settings: Settings
    seed: int


@dataclass(frozen=True)
class Stats:
    """Figures of one decode; passes include the prefills.

    Attributes:
        nfe_target: Passes of the target.
        nfe_drafter: Passes of all drafters together.
        cycles: How often the target verified.
        acceptance_rate: Share of the draft tokens that were accepted.
        resampled_rate: Share of the tokens that were resampled.
        sweeps: Sweeps of the target; 0 where windows order its cells.
        widest_sweep: Cells that the widest of them sampled: `sweep_width`, or what was chosen for "auto".
        seconds: Of the decode and of making the image; neither of the prompt nor of waiting for a place.
    """

    nfe_target: int
    nfe_drafter: int
    cycles: int
    acceptance_rate: float
    resampled_rate: float
    sweeps: int
    widest_sweep: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """A generated image.

    Attributes:
        image: RGB.
        tokens: Int[H, W].
        plan: The layout that was drawn; None where it is not the demo.
        settings: How it was decoded.
        trace: Every pass and decision.
        stats: Its figures.
    """

    image: Image.Image
    tokens: Tokens
    plan: Plan | None
    settings: Settings
    trace: Trace
    stats: Stats


def stats_of(trace: Trace, seconds: float) -> Stats:
    """Return the figures of a decode."""
    sweeps = trace.sweeps_of(0)
    return Stats(
        nfe_target=trace.nfe(0),
        nfe_drafter=len(trace.passes) - trace.nfe(0),
        cycles=len(trace.cycles_of(0)),
        acceptance_rate=trace.acceptance_rate,
        resampled_rate=trace.resampled_rate,
        sweeps=len(sweeps),
        widest_sweep=max((len(sweep.cells) for sweep in sweeps), default=0),
        seconds=seconds,
    )

"""The paired comparison of a bundle's modes: every round draws one prompt in every mode, in shuffled order."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.bench.modes import EAGER, BenchMode
from mulo_sd.conformance.bench.spread import Spread, spread_of
from mulo_sd.conformance.bench.timed import BUCKET_NAMES, Accounts, TimedBackend, accounts_of
from mulo_sd.conformance.bench.workload import Drawing
from mulo_sd.engines.loop.decode import Decoded
from mulo_sd.engines.loop.verify import Accepted
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import Settings


class Eager(Protocol):
    """Draws without the engine."""

    def draw(self, drawing: Drawing, settings: Settings) -> tuple[NDArray[np.uint8], float, int]:
        """Return pixels UInt8[S, S, 3], seconds, and passes."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """One image of the engine: its pixels, its decode, and where the time went."""

    pixels: NDArray[np.uint8]
    decoded: Decoded
    accounts: Accounts


def draw_timed(
    pipeline: Pipeline,
    timer: TimedBackend,
    drawing: Drawing,
    settings: Settings,
    accepted: Accepted | None = None,
    finish: Callable[[], None] = lambda: None,
) -> Drawn:
    """Draw an image from condition to pixels.

    Args:
        pipeline: Over `timer`.
        timer: Whose calls are those of this image alone afterwards.
        drawing: What to draw; its prompt becomes a condition before the clock starts.
        settings: How.
        accepted: Replays acceptances.
        finish: Waits for the device.
    """
    condition = drawing.condition_of(pipeline)
    timer.calls.clear()
    finish()
    started = time.perf_counter()
    decoded = pipeline.decode(condition, settings, drawing.seed, hooks=Hooks(accepted=accepted))
    image = pipeline.image_from_tokens(decoded.tokens)
    finish()
    wall = time.perf_counter() - started
    return Drawn(np.asarray(image), decoded, accounts_of(timer.calls, wall))


@dataclass
class Measurements:
    """What was measured of one mode; a list has one entry a round, in the order of the rounds."""

    seconds: list[float] = field(default_factory=list)
    host_share: list[float] = field(default_factory=list)
    host_ms: list[float] = field(default_factory=list)
    nfe_target: dict[int, int] = field(default_factory=dict)  # by prompt
    nfe_drafter: dict[int, int] = field(default_factory=dict)
    acceptance: dict[int, float] = field(default_factory=dict)
    held: dict[int, bool] = field(default_factory=dict)
    buckets: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    graphs: set[str] = field(default_factory=set)
    peak_bytes: float | None = None

    def add(self, number: int, drawn: Drawn) -> None:
        """Add an image of prompt `number`."""
        accounts, trace = drawn.accounts, drawn.decoded.trace
        self.seconds.append(accounts.wall)
        self.host_share.append(accounts.host_share)
        self.host_ms.append(accounts.host_ms_per_step)
        self.nfe_target[number] = trace.nfe(0)
        self.nfe_drafter[number] = len(trace.passes) - trace.nfe(0)
        self.acceptance[number] = trace.acceptance_rate
        self.graphs |= set(accounts.by_graph)
        for key, (count, seconds) in accounts.by_bucket.items():
            self.buckets[key][0] += count
            self.buckets[key][1] += seconds


@dataclass(frozen=True)
class ModeRow:
    """A line of the table: one mode over all rounds."""

    name: str
    label: str
    settings: dict[str, Any]
    wall: Spread
    over_engine_ar: Spread | None
    over_eager: Spread | None
    nfe_target: float
    nfe_drafter: float
    acceptance: float | None
    host_share: Spread | None
    host_ms: Spread | None
    pass_ms: dict[str, float]  # by bucket of T, all models together
    pass_ms_by_model: dict[str, dict[str, float]]
    peak_bytes: float | None
    score: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it by name."""
        plain = {
            name: value.to_json() if isinstance(value, Spread) else value
            for name, value in vars(self).items()
            if name not in ("wall", "host_share", "host_ms")
        }
        return plain | {
            "seconds": self.wall.to_json(),
            "host_share": self.host_share.to_json() if self.host_share else None,
            "host_ms_per_step": self.host_ms.to_json() if self.host_ms else None,
        }


def ratios(other: Measurements | None, own: Measurements) -> Spread | None:
    """Return the speed-up over another mode, round by round; None where that was not drawn."""
    if other is None:
        return None
    return spread_of([theirs / ours for theirs, ours in zip(other.seconds, own.seconds, strict=True)])


def _mean(values: Mapping[int, float]) -> float:
    return sum(values.values()) / len(values)


def _pass_ms(buckets: dict[tuple[str, str], list[float]], graph: str | None = None) -> dict[str, float]:
    """Return the mean milliseconds of a pass by bucket of T, of one model or of all."""
    milliseconds = {}
    for name in BUCKET_NAMES:
        parts = [part for (model, bucket), part in buckets.items() if bucket == name and graph in (None, model)]
        if parts:
            milliseconds[name] = 1e3 * sum(part[1] for part in parts) / sum(part[0] for part in parts)
    return milliseconds


def mode_rows(
    measured: dict[str, Measurements], modes: Sequence[BenchMode], settings_of: Callable[[BenchMode], Settings]
) -> list[ModeRow]:
    """Return the table's lines, those of `measured` that have rounds."""
    eager, rows = BenchMode(EAGER, "eager PyTorch AR", {"mode": "ar"}), []
    for mode in (eager, *modes):
        own = measured.get(mode.name)
        if own is None or not own.seconds:
            continue
        graphs = sorted({graph for graph, _ in own.buckets})
        rows.append(
            ModeRow(
                name=mode.name,
                label=mode.label,
                settings=settings_of(mode).model_dump(),
                wall=spread_of(own.seconds),
                over_engine_ar=ratios(measured.get("ar"), own),
                over_eager=ratios(measured.get(EAGER), own),
                nfe_target=_mean(own.nfe_target),
                nfe_drafter=_mean(own.nfe_drafter),
                acceptance=_mean(own.acceptance) if own.acceptance and mode.drafters else None,
                host_share=spread_of(own.host_share) if own.host_share else None,
                host_ms=spread_of(own.host_ms) if own.host_ms else None,
                pass_ms=_pass_ms(own.buckets),
                pass_ms_by_model={graph: _pass_ms(own.buckets, graph) for graph in graphs},
                peak_bytes=own.peak_bytes,
                score=_mean(own.held) if own.held else None,
            )
        )
    return rows


def compare(
    pipeline: Pipeline,
    modes: Sequence[BenchMode],
    drawings: Sequence[Drawing],
    repeat: int,
    seed: int,
    eager: Eager | None,
    holds: Callable[[Drawing, NDArray[np.uint8]], bool] | None,
    advance: Callable[[str], None],
) -> dict[str, Measurements]:
    """Draw every prompt `repeat` times in every mode, after once in each that does not count: it makes the sessions.

    Args:
        pipeline: Over any backend; it is wrapped here.
        modes: Of the engine.
        drawings: The prompts.
        repeat: Repetitions.
        seed: Of the order of modes, anew in each round.
        eager: Draws mode "eager", where it is asked for.
        holds: Judges an image; None leaves the score out.
        advance: Told what has been drawn, once an image.
    """
    timer = TimedBackend(pipeline.backend)
    wrapped = Pipeline(pipeline.bundle, timer)
    settings = {mode.name: pipeline.settings(**mode.changes) for mode in modes}
    measured = {name: Measurements() for name in ([EAGER] if eager else []) + [mode.name for mode in modes]}
    order = random.Random(seed)

    def draw(name: str, number: int, counts: bool) -> None:
        drawing, own = drawings[number], measured[name]
        if name == EAGER:
            assert eager is not None
            pixels, seconds, passes = eager.draw(drawing, pipeline.settings(mode="ar", sweep_width=1))
            if counts:
                own.seconds.append(seconds)
                own.nfe_target[number], own.nfe_drafter[number] = passes, 0
        else:
            drawn = draw_timed(wrapped, timer, drawing, settings[name])
            pixels = drawn.pixels
            if counts:
                own.add(number, drawn)
        if counts and holds is not None:
            own.held[number] = holds(drawing, pixels)
        advance(name)

    for name in measured:
        draw(name, 0, counts=False)
    for _ in range(repeat):
        for number in range(len(drawings)):
            names = list(measured)
            order.shuffle(names)
            for name in names:
                draw(name, number, counts=True)
    return measured

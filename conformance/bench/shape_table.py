"""Published shapes with random weights: latency at declared acceptances, and passes against their floors."""

import contextlib
from collections.abc import Callable

from mulo_sd.conformance.bench import shapes
from mulo_sd.conformance.bench.demo_table import draw_timed
from mulo_sd.conformance.bench.eager import EagerPublished
from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.floors import Machine
from mulo_sd.conformance.bench.modes import EAGER, BenchMode, modes_of
from mulo_sd.conformance.bench.passes import PassRow, pass_rows
from mulo_sd.conformance.bench.replay import Replay
from mulo_sd.conformance.bench.shape_rows import ShapeOptions, ShapeRow
from mulo_sd.conformance.bench.spread import Spread, spread_of
from mulo_sd.conformance.bench.timed import TimedBackend
from mulo_sd.conformance.bench.workload import Drawing, random_condition
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import Settings

# Modes whose warm-up draws a whole image, for all sizes of passes and samplers; that of others stops after this share.
WARM_WHOLE, WARM_SHARE = ("serial", "serial-cascade", "parallel", "cascade"), 1 / 32


def shape_modes(shape: shapes.Shape, chosen: list[str] | None) -> list[BenchMode]:
    """Return a shape's modes: with three grids the ratio between the first and the last is drafted in one step, too.

    Those that guess are left out: `sweep_rows` says what their passes would cost.
    """
    modes = [mode for mode in modes_of(len(shape.models) - 1, chosen) if not mode.guesses]
    if len(shape.models) > 2:
        far = BenchMode("parallel", "MuLo-SD parallel, one drafter", {"mode": "parallel", "drafters": (2,)}, 2)
        return [far if mode.name == "parallel" else mode for mode in modes]
    return modes


class _EnoughError(Exception):
    """The warm-up has seen enough."""


class ShapeRun:
    """One shape, its models in memory."""

    def __init__(self, shape: shapes.Shape, options: ShapeOptions) -> None:
        """Make the models.

        Raises:
            BenchError: the backend cannot be loaded.
        """
        self.shape, self.options = shape, options
        self.pipeline, self.models = shapes.make_shape_pipeline(
            shape, options.device, options.precision, options.kernels, options.seed
        )
        self.entry = self.pipeline.bundle.manifest.target
        self.condition = random_condition(self.entry, options.seed)
        self.finish = shapes.synchroniser(options.device)
        self.medians: dict[str, float] = {}

    def passes(self, machine: Machine, tell: Callable[[PassRow], None]) -> None:
        """Measure passes of the target against their floors, telling each."""
        budget, most = (0.3, 30) if self.options.quick else (1.0, 100)
        rows = pass_rows(
            self.pipeline.backend,
            self.entry,
            machine,
            self.options.precision,
            batch=1 if self.pipeline.settings().guidance_scale == 1 else 2,
            budget=budget,
            most=most,
            synchronise=self.finish,
        )
        for row in rows:
            tell(row)

    def rows(self, advance: Callable[[str], None], tell: Callable[[ShapeRow], None]) -> None:
        """Draw in every mode, telling each row when it is known.

        Args:
            advance: Told what is being drawn.
            tell: Given each row.
        """
        timer = TimedBackend(self.pipeline.backend)
        wrapped = Pipeline(self.pipeline.bundle, timer)
        for mode in shape_modes(self.shape, self.options.modes):
            settings = self.pipeline.settings(**mode.changes)
            self._warm_up(mode, settings, advance)
            rated = settings.decoding.drafts and mode.rated
            for rate in self.options.acceptances if rated else (None,):
                tell(self._row(mode, settings, rate, wrapped, timer, advance))
            if mode.name == "ar" and (self.options.modes is None or EAGER in self.options.modes):
                tell(self._eager_row(settings, advance))

    def _replay(self, rate: float | None, number: int) -> Replay | None:
        if rate is None:
            return None
        seed = self.options.seed + number
        return Replay(self.pipeline.bundle.manifest.models, rate, self.options.correlation_length, seed)

    def _warm_up(self, mode: BenchMode, settings: Settings, advance: Callable[[str], None]) -> None:
        advance(f"{mode.label}: warm-up")
        replay = self._replay(self.options.acceptances[0], 0) if settings.decoding.drafts else None

        def stop(done: int, total: int) -> None:
            if mode.name not in WARM_WHOLE and done >= total * WARM_SHARE:
                raise _EnoughError

        with contextlib.suppress(_EnoughError):
            self.pipeline.decode(self.condition, settings, self.options.seed, hooks=Hooks(stop, accepted=replay))
        self.finish()

    def _row(
        self,
        mode: BenchMode,
        settings: Settings,
        rate: float | None,
        wrapped: Pipeline,
        timer: TimedBackend,
        advance: Callable[[str], None],
    ) -> ShapeRow:
        repeat = min(self.options.repeat, 2) if mode.name == "ar" else self.options.repeat
        shapes.forget_peak(self.options.device)
        drawn = []
        for number in range(repeat):
            advance(mode.label if rate is None else f"{mode.label}, acceptance {rate:g}")
            drawing = Drawing("", self.options.seed + number, condition=self.condition)
            drawn.append(draw_timed(wrapped, timer, drawing, settings, self._replay(rate, number), self.finish))
        seconds = spread_of([item.accounts.wall for item in drawn])
        if rate is None:
            self.medians[mode.name] = seconds.median
        trace = drawn[-1].decoded.trace
        return ShapeRow(
            mode=mode.name,
            label=mode.label,
            drafters=settings.model_numbers[1:],
            acceptance=rate,
            accepted=None if rate is None else trace.acceptance_rate,
            seconds=seconds,
            over_engine_ar=self._over("ar", seconds),
            over_eager=self._over(EAGER, seconds),
            nfe_target=trace.nfe(0),
            nfe_drafter=len(trace.passes) - trace.nfe(0),
            host_share=spread_of([item.accounts.host_share for item in drawn]).median,
            host_ms=spread_of([item.accounts.host_ms_per_step for item in drawn]).median,
            peak_bytes=shapes.device_peak_bytes(self.options.device),
        )

    def _eager_row(self, settings: Settings, advance: Callable[[str], None]) -> ShapeRow:
        eager = EagerPublished(self.models)
        shapes.forget_peak(self.options.device)
        seconds, passes = [], 0
        for number in range(min(self.options.repeat, 2)):
            advance("eager PyTorch AR")
            _, taken, passes = eager.draw(self.condition, settings, self.options.seed + number)
            seconds.append(taken)
        spread = spread_of(seconds)
        self.medians[EAGER] = spread.median
        return ShapeRow(
            mode=EAGER,
            label="eager PyTorch AR, as the published code",
            drafters=(),
            acceptance=None,
            accepted=None,
            seconds=spread,
            over_engine_ar=self._over("ar", spread),
            over_eager=1.0,
            nfe_target=passes,
            nfe_drafter=0,
            host_share=None,
            host_ms=None,
            peak_bytes=shapes.device_peak_bytes(self.options.device),
        )

    def _over(self, name: str, seconds: Spread) -> float | None:
        """Return the speed-up over a mode's median, where that is known by now."""
        return self.medians[name] / seconds.median if name in self.medians else None


def run_shape(
    name: str,
    options: ShapeOptions,
    machine: Machine,
    advance: Callable[[str], None],
    tell_pass: Callable[[PassRow], None],
    tell_row: Callable[[ShapeRow], None],
) -> None:
    """Measure one shape, telling each result when it is known.

    Raises:
        BenchError: it does not fit on the device, or the backend cannot be used.
    """
    shapes.release(options.device)
    try:
        advance("making the models")
        run = ShapeRun(shapes.shape_of(name), options)
        advance("passes against their floors")
        run.passes(machine, tell_pass)
        run.rows(advance, tell_row)
    except Exception as error:
        if shapes.is_out_of_memory(error):
            raise BenchError(f"--shape: {options.device} has not enough memory for {name}") from None
        raise

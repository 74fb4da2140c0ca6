"""Which cells each step of a decode samples and decides, by windows or by sweeps, read off the rules and the trace."""

from typing import Literal, NamedTuple

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass, Sweep

Part = Literal["alone", "draft", "resample", "exact"]


class Plan(NamedTuple):
    """How a set of cells is decided, as the rules of the modes say.

    Attributes:
        by_sweeps: By sweeps (SWEEP-1), else by windows (SCHED-1).
        window: SCHED-1; None is infinite.
        by_island: SCHED-2.
        width: Of a sweep; None is all, and 0 any that the engine takes (SWEEP-6).
        limit: SWEEP-4; None is none.
    """

    by_sweeps: bool
    window: int | None = None
    by_island: bool = False
    width: int | None = None
    limit: int | None = None


def plan_of(settings: Settings, part: Part) -> Plan:
    """Return how a part of a decode is decided: the target alone, the coarsest draft, what is resampled, or exactly."""
    match part:
        case "draft":
            plan = Plan(settings.draft_by == "sweeps", settings.draft_window, limit=settings.draft_sweeps)
        case "resample" if settings.decoding.by_rows:
            plan = Plan(by_sweeps=True, limit=settings.sweeps)
        case "resample":
            by_sweeps = settings.resample_by == "sweeps"
            plan = Plan(by_sweeps, settings.island_window, settings.islands, limit=settings.sweeps)
        case "alone" if settings.decoding.draft is None:
            plan = Plan(by_sweeps=False, window=settings.window)
        case _:  # MODE-AR, and MODE-EXACT's target
            plan = Plan(by_sweeps=True)
    if settings.sweep_width != "auto":
        return plan._replace(width=settings.sweep_width)
    return plan._replace(width=0 if plan.limit is None and not plan.by_island else None)


class Round(NamedTuple):
    """One step of windows, or one sweep.

    Attributes:
        cells: Those that were sampled, ascending.
        source: The pass that the logits of the last of them come from.
        samples: {cell: token}.
        decided: Those of the cells that are decided.
        sweep: The trace's record of it; None for a step of windows.
        bare: Cells that had no token before they were guessed (SWEEP-5).
        grid: {cell: token} as the pass read it, guesses included.
    """

    cells: list[int]
    source: Pass
    samples: dict[int, int]
    decided: set[int]
    sweep: Sweep | None = None
    bare: frozenset[int] = frozenset()
    grid: dict[int, int] = {}  # noqa: RUF012  (never written)


class Sweeping:
    """The regions of a set that is decided by sweeps, as far as the trace has told them."""

    def __init__(self, cells: set[int], grid_width: int, plan: Plan) -> None:
        regions = oracles.components(cells, grid_width) if plan.by_island else [sorted(cells)]
        self.undecided = [region for region in regions if region]
        self.longest = max(map(len, self.undecided), default=0)
        self.plan, self.made = plan, 0

    def swept(self, upcoming: Pass | None) -> list[list[int]]:
        """Return the cells that the next sweep samples, by region (SWEEP-1, SWEEP-4).

        Args:
            upcoming: The pass that may serve it; where the width is the engine's choice, its trace tells it.
        """
        width = self.plan.width
        if self.is_last:
            width = None
        elif width == 0:
            told = upcoming.sweeps[0].cells if upcoming is not None and upcoming.sweeps else None
            width = 1 if told is None or int(told[0]) != self.undecided[0][0] else len(told)
        return [region[:width] for region in self.undecided]

    @property
    def is_last(self) -> bool:
        """Whether the next sweep decides all that is left (SWEEP-4)."""
        return self.plan.limit is not None and self.made + 1 == self.plan.limit

    def settle(self, swept: list[list[int]], sweep: Sweep) -> set[int]:
        """Return the cells that a sweep has to decide, and hold its trace against them (SWEEP-2, SWEEP-4)."""
        cells = sweep.cells.tolist()
        guesses, samples = (dict(zip(cells, tokens.tolist(), strict=True)) for tokens in (sweep.guesses, sweep.samples))
        decided = set[int]()
        for region, sampled in zip(self.undecided, swept, strict=True):
            pair = [guesses[cell] for cell in sampled], [samples[cell] for cell in sampled]
            count = oracles.decided_by_sweep(*pair)
            reach("a sweep decides some of a region's cells", count < len(sampled))
            reach("a wrong guess is decided as sampled", pair[0][count - 1] != pair[1][count - 1])
            reach("a limit decides what is not certain", self.is_last and count < len(sampled))
            taken = sampled if self.is_last else sampled[:count]
            decided.update(taken)
            del region[: len(taken)]
        told = {cell for cell, is_decided in zip(cells, sweep.decided.tolist(), strict=True) if is_decided}
        assert told == decided, (
            f"sweep {self.made + 1} of cells {cells}: decides {sorted(told)}, expected {sorted(decided)} "
            f"from guesses {guesses} and samples {samples}"
        )
        self.undecided = [region for region in self.undecided if region]
        self.made += 1
        reach("several regions are swept at once", len(swept) > 1)
        reach("a region is swept again", self.made > 1)
        return decided

"""Mutants of sweeps: what they sample and what they decide (SWEEP-1, SWEEP-2, SWEEP-4, SWEEP-6, RNG-1, ANCHOR-1)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched, swept
from mulo_sd.engines.loop import decode, verify
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.rules import schedule, sweeps
from mulo_sd.engines.rules.noise import NoiseSource, gumbel_noise
from mulo_sd.engines.rules.sweeps import Sweeps


def made(kind: type[Sweeps]) -> Make:
    """Have sweeps made of another class."""
    return patched(schedule, "Sweeps", lambda right, *arguments: kind(*arguments))


class _SkipsTheSecond(Sweeps):
    """Sample the second undecided cell of a region only once it is the first."""

    def _swept(self) -> list[Tokens]:
        return [np.concatenate([region[:1], region[2:]]) for region in super()._swept()]

    def guessed(self, unfed: set[int]) -> list[int]:
        return [cell for region in super()._swept() for cell in region[:-1].tolist()]

    def settle(self, cells: Any, guesses: Tokens, samples: Tokens) -> Any:
        before = list(self.undecided)
        decided = super().settle(cells, guesses, samples)
        done = np.asarray(cells)[decided]
        self.undecided = [left for left in (region[~np.isin(region, done)] for region in before) if len(left)]
        return decided


class _OneWider(Sweeps):
    """Sample a cell more than the width."""

    def __init__(self, cells: Any, by_island: bool, width: int | None, limit: int | None) -> None:
        super().__init__(cells, by_island, None if width is None else width + 1, limit)


class _FirstRegionAlone(Sweeps):
    """Let a region wait for those before it."""

    def _swept(self) -> list[Tokens]:
        return [region if number == 0 else region[:0] for number, region in enumerate(super()._swept())]

    def guessed(self, unfed: set[int]) -> list[int]:
        *before, last = self._swept()[0].tolist()
        return [*before, *unfed.intersection([last])]


class _OneRegion(Sweeps):
    """Take all islands for one region."""

    def __init__(self, cells: Any, by_island: bool, width: int | None, limit: int | None) -> None:
        super().__init__(cells, False, width, limit)


class _Limit(Sweeps):
    """Decide the rest in another sweep than the one of the limit."""

    by = 0

    def __init__(self, cells: Any, by_island: bool, width: int | None, limit: int | None) -> None:
        super().__init__(cells, by_island, width, None if limit is None else max(1, limit + self.by))


class _LimitLate(_Limit):
    by = 1


class _LimitEarly(_Limit):
    by = -1


class _LimitIgnored(_Limit):
    by = 2**20


class _LastIsNarrow(Sweeps):
    """Let the last sweep sample no more than its width, and further ones follow."""

    def _swept(self) -> list[Tokens]:
        return [region[: self.width] for region in self.undecided]


class _LastIsWary(Sweeps):
    """Let the last sweep decide what is certain alone, and leave the rest as it was sampled."""

    def settle(self, cells: Any, guesses: Tokens, samples: Tokens) -> Any:
        is_last = self.limit is not None and self.made + 1 >= self.limit
        limit, self.limit = self.limit, None
        decided = super().settle(cells, guesses, samples)
        self.limit = limit
        if is_last:
            self.undecided = []
        return decided


def _certain_plus(by: int) -> Callable[..., int]:
    """Decide more or fewer cells where a sample differs, but never none."""

    def certain(right: Any, guesses: Tokens, samples: Tokens) -> int:
        count = int(right(guesses, samples))
        return count if np.array_equal(guesses, samples) else min(max(1, count + by), len(guesses))

    return certain


def _right_ones_are_decided(right: Any, guesses: Tokens, samples: Tokens) -> int:
    """Decide up to the last cell whose sample is its guess, whatever is wrong before it."""
    same = np.flatnonzero(guesses == samples)
    return max(int(right(guesses, samples)), int(same[-1]) + 1 if len(same) else 1)


def _guess_stays(right: Any, model: ModelState, cells: Any, tokens: Tokens, decided: Any, source: Any) -> None:
    """Decide the first cell that differs as it was guessed."""
    guesses = model.grid[np.asarray(cells)]
    right(model, cells, np.where(decided & (guesses >= 0), guesses, tokens), decided, source)


def _guesses_of_the_sweep_before(
    right: Any, model: ModelState, cells: Any, tokens: Tokens, decided: Any, source: Any
) -> None:
    """Guess the samples of the sweep before last, where there was one."""
    last: dict[int, int] = getattr(model, "samples", {})
    model.samples = dict(zip(cells, tokens.tolist(), strict=True))  # type: ignore[attr-defined]  # the defect's own
    old = np.array([last.get(cell, token) for cell, token in model.samples.items()])  # type: ignore[attr-defined]
    right(model, cells, np.where(decided, tokens, old), decided, source)


def _guesses_stay(right: Any, model: ModelState, cells: Any, tokens: Tokens, decided: Any, source: Any) -> None:
    """Guess again what was guessed before."""
    guesses = model.grid[np.asarray(cells)]
    right(model, cells, np.where(decided | (guesses < 0), tokens, guesses), decided, source)


def _noise_of_the_attempt(
    right: Any, model: ModelState, cells: Any, answer: Answer, source_pass: Any = None, anchor: Any = None
) -> Tokens:
    """Count how often a cell was sampled, and draw it with the noise of that attempt."""
    attempts: dict[int, int] = model.__dict__.setdefault("attempts", {})
    numbers = {cell: attempts.get(cell, 0) for cell in cells}
    attempts.update({cell: number + 1 for cell, number in numbers.items()})
    rows = model.noise.rows
    model.noise.rows = lambda wanted: np.concatenate(  # type: ignore[method-assign,assignment]  # for this draw
        [
            gumbel_noise(model.seed, model.noise.stream, np.array([cell]), model.entry.vocabulary, numbers.get(cell, 0))
            for cell in np.asarray(wanted).tolist()
        ]
    )
    try:
        return np.asarray(right(model, cells, answer, source_pass, anchor))
    finally:
        model.noise.rows = rows  # type: ignore[method-assign]


def _guesses_unanchored(right: Any, answer: Answer, distribution: Any, noise: NoiseSource, anchor: Any) -> Tokens:
    """Anchor the first cell of a pass alone."""
    tokens = right(answer, distribution, noise, anchor)
    plain = right(answer, distribution, noise, None)
    return np.concatenate([tokens[:1], plain[1:]])


def _sampled_once(right: Any, answer: Answer, distribution: Any, noise: NoiseSource, anchor: Any) -> Tokens:
    """Sample a cell once, and take that sample again in later sweeps."""
    known: dict[int, int] = noise.__dict__.setdefault("known", {})
    tokens = right(answer, distribution, noise, anchor)
    return np.array([known.setdefault(*pair) for pair in zip(answer.cells.tolist(), tokens.tolist(), strict=True)])


def _narrow(right: Any, cells: Any, order: Any, settings: Any, auto_width: Any) -> Any:
    """Take a width that a machine may choose where the image depends on it."""
    plan = right(cells, order, settings, auto_width)
    if isinstance(plan, Sweeps) and settings.sweep_width == "auto":
        plan.width = 1
    return plan


def settles(wrong: Callable[..., None]) -> Make:
    """Replace what a model makes of the samples of a sweep."""
    return patched(ModelState, "settle", wrong)


MUTANTS = swept(
    Mutant("a sweep skips a cell of its width", "SWEEP-1", made(_SkipsTheSecond)),
    Mutant("a sweep samples a cell more than its width", "SWEEP-1", made(_OneWider)),
    Mutant("islands that are swept wait for each other", "SWEEP-1", made(_FirstRegionAlone)),
    Mutant("islands are swept as one region", "SWEEP-1", made(_OneRegion)),
    Mutant(
        "a sweep draws with the noise of its attempt", "RNG-1", patched(ModelState, "sample", _noise_of_the_attempt)
    ),
    Mutant("guesses are sampled without the anchor", "ANCHOR-1", patched(Answer, "sample", _guesses_unanchored)),
    Mutant(
        "samples of an earlier sweep are taken again",
        "DIST-1",
        patched(Answer, "sample", _sampled_once),
    ),
    Mutant("the first cell that differs is not decided", "SWEEP-2", patched(sweeps, "certain", _certain_plus(-1))),
    Mutant("the cell after the first that differs is decided", "SWEEP-2", patched(sweeps, "certain", _certain_plus(1))),
    Mutant(
        "guesses that come true behind a wrong one are decided",
        "SWEEP-2",
        patched(sweeps, "certain", _right_ones_are_decided),
    ),
    Mutant("a wrong guess is decided", "SWEEP-2", settles(_guess_stays)),
    Mutant("guesses are the samples of the sweep before last", "SWEEP-2", settles(_guesses_of_the_sweep_before)),
    Mutant("guesses stay as they were", "SWEEP-2", settles(_guesses_stay)),
    Mutant("the limit comes a sweep late", "SWEEP-4", made(_LimitLate)),
    Mutant("the limit comes a sweep early", "SWEEP-4", made(_LimitEarly)),
    Mutant("the limit is ignored", "SWEEP-4", made(_LimitIgnored)),
    Mutant("the last sweep is no wider than the others", "SWEEP-4", made(_LastIsNarrow)),
    Mutant("the last sweep decides what is certain alone", "SWEEP-4", made(_LastIsWary)),
    Mutant("islands that are swept have the width of a machine", "SWEEP-6", patched(verify, "schedule_of", _narrow)),
    Mutant("drafts with a limit have the width of a machine", "SWEEP-6", patched(decode, "schedule_of", _narrow)),
)

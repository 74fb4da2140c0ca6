"""Which candidates to measure further, and which to choose: successive halving under a time budget."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from mulo_sd.conformance.calibrate.candidates import Candidate

FIRST_RUNG = 4  # prompts on which every candidate is measured
FEWEST_SURVIVORS = 3  # by seconds, and by passes


@dataclass(frozen=True)
class Sample:
    """One image of one candidate.

    Attributes:
        agreement: With the target, minus that of the target's own image of the same prompt and seed; 0 is as good.
        seconds: Of the decode.
        nfe: Passes of all models.
    """

    agreement: float
    seconds: float
    nfe: int


@dataclass
class Measured:
    """What is known of a candidate."""

    candidate: Candidate
    samples: list[Sample] = field(default_factory=list)

    @property
    def agreement(self) -> float:
        return mean(sample.agreement for sample in self.samples)

    @property
    def standard_error(self) -> float:
        """Of the agreement; infinite where one sample is all there is."""
        if len(self.samples) < 2:
            return math.inf
        return stdev(sample.agreement for sample in self.samples) / math.sqrt(len(self.samples))

    @property
    def cost(self) -> tuple[float, float]:
        """Mean seconds, then mean passes."""
        return mean(sample.seconds for sample in self.samples), mean(sample.nfe for sample in self.samples)

    @property
    def cost_in_passes(self) -> tuple[float, float]:
        """Mean passes, then mean seconds: what costs time where a pass of many cells takes hardly longer."""
        seconds, passes = self.cost
        return passes, seconds


def rungs(prompts: int) -> Iterator[range]:
    """Yield the prompts of each round: four, then as many again as there were, up to all."""
    start, stop = 0, min(FIRST_RUNG, prompts)
    while start < prompts:
        yield range(start, stop)
        start, stop = stop, min(2 * stop, prompts)


def survivors(measured: Sequence[Measured], lowest: float) -> list[Measured]:
    """Return who is worth measuring further: the faster half of what may keep the agreement, and the fewest passes.

    Args:
        measured: Candidates with samples.
        lowest: The agreement to keep, such as -0.02.
    """
    hopeful = [item for item in measured if item.agreement + 2 * item.standard_error >= lowest]
    ranked = sorted(hopeful or measured, key=lambda item: item.cost)
    fast = ranked[: max(FEWEST_SURVIVORS, -(-len(ranked) // 2))]
    few = sorted(ranked, key=lambda item: item.cost_in_passes)[:FEWEST_SURVIVORS]
    return fast + [item for item in few if item not in fast]


@dataclass(frozen=True)
class Choice:
    """What a calibration settles on, of the candidates that keep the agreement; None where none does.

    Attributes:
        fastest: The fewest seconds.
        fewest_passes: The fewest passes of all models.
        by_windows: The fewest seconds by windows.
    """

    fastest: Measured | None
    fewest_passes: Measured | None
    by_windows: Measured | None


def choose(measured: Sequence[Measured], lowest: float) -> Choice:
    """Choose among those measured on the most prompts that keep the agreement."""
    most = max(len(item.samples) for item in measured)
    keeping = [item for item in measured if len(item.samples) == most and item.agreement >= lowest]
    windowed = [item for item in keeping if not item.candidate.is_by_sweeps]
    return Choice(
        min(keeping, key=lambda item: item.cost, default=None),
        min(keeping, key=lambda item: item.cost_in_passes, default=None),
        min(windowed, key=lambda item: item.cost, default=None),
    )


def search(
    candidates: Sequence[Candidate],
    prompts: int,
    lowest: float,
    measure: Callable[[Candidate, int], Sample],
    has_time: Callable[[], bool],
) -> list[Measured]:
    """Measure candidates round after round until the prompts or the time run out.

    A round that time cuts short is dropped for the candidates that it did not reach in full: `choose` compares
    those with equally many prompts.

    Args:
        candidates: To try.
        prompts: How many there are.
        lowest: The agreement to keep.
        measure: From a candidate and a prompt's number to one sample.
        has_time: Asked before each sample.

    Returns:
        Every candidate, with its samples.
    """
    everyone = [Measured(candidate) for candidate in candidates]
    alive = list(everyone)
    for numbers in rungs(prompts):
        for item in alive:
            fresh: list[Sample] = []
            for number in numbers:
                if not has_time():
                    return everyone
                fresh.append(measure(item.candidate, number))
            item.samples += fresh
        alive = survivors(alive, lowest)
    return everyone

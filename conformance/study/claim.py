"""A claim of the study, and what claims are made of: paired differences with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.statistics import Estimate, bootstrap_interval, paired_difference
from mulo_sd.conformance.study.summary import Results, common_scenes
from mulo_sd.conformance.study.variants import AR, OTHER_SEEDS

Verdict = Literal["holds", "does not hold", "not measured"]
Group = dict[Scene, Row]


@dataclass(frozen=True)
class Claim:
    """A claim, its verdict and the numbers behind it, a line each."""

    text: str
    verdict: Verdict
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two variants over the prompts that both and AR have; differences are the first's less the second's."""

    images: int
    score: Estimate
    frechet: Estimate
    unpaired: Estimate | None
    nfe: tuple[float, float]

    @property
    def is_better(self) -> bool:
        """Whether the first has the better score or the smaller distance to AR, beyond the interval."""
        return self.score.low > 0 or self.frechet.high < 0

    def facts(self) -> tuple[str, ...]:
        facts = (
            f"{self.images} prompts",
            f"total passes: {self.nfe[0]:.1f} against {self.nfe[1]:.1f}",
            f"score difference: {points(self.score)}",
            f"encoder_frechet difference (below 0 is nearer to AR): {_distance(self.frechet)}",
        )
        if self.unpaired is None:
            return facts
        return (*facts, f"the same, unpaired (not part of the verdict): {_distance(self.unpaired)}")


def _distance(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"


def points(estimate: Estimate) -> str:
    """Return a difference of scores in points, with its interval."""
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def verdict_of(holds: bool) -> Verdict:
    """Return it in words."""
    return "holds" if holds else "does not hold"


def compare(first: Group, second: Group, results: Results) -> Comparison | None:
    """Compare two variants; None where they and AR have fewer than two prompts in common."""
    ar, other = results.ar_images(), results.control(OTHER_SEEDS)
    scenes = common_scenes([first, second, ar])
    if len(scenes) < 2:
        return None
    return Comparison(
        images=len(scenes),
        score=score_difference(first, second, scenes),
        frechet=_frechet_difference(first, second, ar, scenes, results),
        unpaired=_frechet_difference(first, second, other, scenes, results) if set(scenes) <= set(other) else None,
        nfe=(fmean(first[where].nfe for where in scenes), fmean(second[where].nfe for where in scenes)),
    )


def _frechet_difference(
    first: Group, second: Group, fixed: Group, scenes: Sequence[Scene], results: Results
) -> Estimate:
    """Return the first's distance to a fixed variant less the second's, paired in its resamples."""
    value, drawn = results.distances.between(fixed, first, scenes)
    other_value, other_drawn = results.distances.between(fixed, second, scenes)
    return bootstrap_interval(value - other_value, drawn - other_drawn)


def score_difference(first: Group, second: Group, scenes: Sequence[Scene]) -> Estimate:
    """Return the first's score less the second's, over pairs."""
    return paired_difference([first[where].holds for where in scenes], [second[where].holds for where in scenes])


def beats_each(text: str, name: str, rows: Group, rivals: Mapping[str, Group], results: Results) -> Claim:
    """Return the claim that a variant is better than every one of its rivals."""
    facts: list[str] = []
    holds = []
    for rival, theirs in rivals.items():
        comparison = compare(rows, theirs, results)
        if comparison is None:
            return Claim(text, "not measured", (f"needs {name!r}, {AR!r} and {rival!r}",))
        holds.append(comparison.is_better)
        facts += [f"{rival}: {fact}" for fact in (verdict_of(comparison.is_better), *comparison.facts())]
    return Claim(text, verdict_of(all(holds)), tuple(facts))

"""What the demo claims of its default settings, each held against the numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mulo_sd.conformance.study.confirm import CELLS, SCORE_MARGIN, equal_windows
from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.statistics import Estimate, bootstrap_interval, paired_difference
from mulo_sd.conformance.study.summary import Results, common_scenes
from mulo_sd.conformance.study.variants import (
    ACCEPTED,
    AR,
    DEFAULT,
    FINE_ACCEPTED,
    ORACLE_ACCEPTED,
    ORACLE_DEFAULT,
    OTHER_SEEDS,
    RATIO_2,
    Variant,
    chain_name,
    zipar_name,
)

MAX_TARGET_NFE, MAX_NFE = CELLS / 6, CELLS / 4
REJECTED = (0.03, 0.20)
ORACLE_SHARE = 0.95
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
            f"score difference: {_points(self.score)}",
            f"encoder_frechet difference (below 0 is nearer to AR): {_distance(self.frechet)}",
        )
        if self.unpaired is None:
            return facts
        return (*facts, f"the same, unpaired (not part of the verdict): {_distance(self.unpaired)}")


def _distance(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"


def _points(estimate: Estimate) -> str:
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def _verdict(holds: bool) -> Verdict:
    return "holds" if holds else "does not hold"


def compare(first: Group, second: Group, results: Results) -> Comparison | None:
    """Compare two variants; None where they and AR have fewer than two prompts in common."""
    ar, other = results.control(AR), results.control(OTHER_SEEDS)
    scenes = common_scenes([first, second, ar])
    if len(scenes) < 2:
        return None
    return Comparison(
        images=len(scenes),
        score=_score_difference(first, second, scenes),
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


def _score_difference(first: Group, second: Group, scenes: Sequence[Scene]) -> Estimate:
    return paired_difference([first[where].holds for where in scenes], [second[where].holds for where in scenes])


def _default_is_cheap(results: Results) -> Claim:
    text = (
        f"The default takes at most {MAX_TARGET_NFE:.1f} target passes and {MAX_NFE:.0f} in all, rejects 3% to 20% "
        "of the drafts, and scores no more than 3 points below AR (lower 95% bound)"
    )
    default, ar = results.control(DEFAULT), results.control(AR)
    scenes = common_scenes([default, ar])
    if not scenes:
        return Claim(text, "not measured", (f"needs {DEFAULT!r} and {AR!r}",))
    target = fmean(default[where].nfe_target for where in scenes)
    total = fmean(default[where].nfe for where in scenes)
    rejected = fmean(1 - default[where].acceptance_rate for where in scenes)
    score = _score_difference(default, ar, scenes)
    parts = {
        f"target passes: {target:.1f}": target <= MAX_TARGET_NFE,
        f"total passes: {total:.1f}": total <= MAX_NFE,
        f"rejected: {100 * rejected:.1f}%": REJECTED[0] <= rejected <= REJECTED[1],
        f"score difference to AR: {_points(score)}": score.low >= -SCORE_MARGIN,
    }
    facts = tuple(f"{fact}: {_verdict(holds)}" for fact, holds in parts.items())
    return Claim(text, _verdict(all(parts.values())), (f"{len(scenes)} prompts", *facts))


def _beats_zipar(results: Results) -> Claim:
    text = (
        "At equal total passes the default beats ZipAR in score or encoder_frechet (the interval excludes 0): "
        "both the window with fewer passes and the one with more"
    )
    return _beats_each(text, [zipar_name(window) for window in equal_windows(results.control(DEFAULT))], results)


def _beats_each(text: str, names: Sequence[str], results: Results) -> Claim:
    """Return the claim that the default is better than every one of some controls."""
    if not names:
        return Claim(text, "not measured", (f"needs {DEFAULT!r}",))
    facts: list[str] = []
    holds = []
    for name in names:
        comparison = compare(results.control(DEFAULT), results.control(name), results)
        if comparison is None:
            return Claim(text, "not measured", (f"needs {DEFAULT!r}, {AR!r} and {name!r}",))
        holds.append(comparison.is_better)
        facts += [f"{name}: {fact}" for fact in (_verdict(comparison.is_better), *comparison.facts())]
    return Claim(text, _verdict(all(holds)), tuple(facts))


def _beats_accepting(results: Results) -> Claim:
    text = (
        "The default beats accepting everything in score or encoder_frechet (the interval excludes 0): "
        "its own draft, and the finest one that is to be had for its passes"
    )
    return _beats_each(text, [ACCEPTED, FINE_ACCEPTED], results)


def _coarser_is_cheaper(results: Results) -> Claim:
    text = (
        "A cascade, or a ratio of 4, takes fewer passes in all than a ratio of 2 at an equal score "
        "(no more than 3 points below, lower 95% bound)"
    )
    ratio_2 = results.rows_of(Variant(chain_name(RATIO_2), "cascade"))
    facts: list[str] = []
    holds = []
    for drafters, words in (((2,), "ratio 4"), ((1, 2), "cascade")):
        comparison = compare(results.rows_of(Variant(chain_name(drafters), "cascade")), ratio_2, results)
        if comparison is None:
            continue
        holds.append(comparison.nfe[0] < comparison.nfe[1] and comparison.score.low >= -SCORE_MARGIN)
        facts += [f"{words} ({chain_name(drafters)}): {fact}" for fact in (_verdict(holds[-1]), *comparison.facts())]
    if not holds:
        return Claim(text, "not measured", ("needs the section cascade",))
    return Claim(text, _verdict(any(holds)), tuple(facts))


def _keeps_oracle_drafts(results: Results) -> Claim:
    text = "With an oracle draft the default keeps at least 95% of the score of accepting everything"
    default, accepted = results.control(ORACLE_DEFAULT), results.control(ORACLE_ACCEPTED)
    scenes = common_scenes([default, accepted])
    kept = sum(default[where].holds for where in scenes)
    whole = sum(accepted[where].holds for where in scenes)
    if not whole:
        return Claim(text, "not measured", (f"needs {ORACLE_DEFAULT!r} and {ORACLE_ACCEPTED!r}",))
    fact = f"{kept} of {len(scenes)} prompts hold against {whole}: {100 * kept / whole:.1f}%"
    difference = f"score difference: {_points(_score_difference(default, accepted, scenes))}"
    return Claim(text, _verdict(kept >= ORACLE_SHARE * whole), (fact, difference))


CLAIMS: tuple[Callable[[Results], Claim], ...] = (
    _default_is_cheap,
    _beats_zipar,
    _beats_accepting,
    _coarser_is_cheaper,
    _keeps_oracle_drafts,
)


def claims_of(results: Results) -> list[Claim]:
    """Return every claim with its verdict."""
    return [claim(results) for claim in CLAIMS]

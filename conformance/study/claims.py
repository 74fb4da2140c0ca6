"""What is claimed of a world's default settings and of sweeps, each held against the numbers."""

from collections.abc import Callable, Sequence
from statistics import fmean

from mulo_sd.conformance.study.claim import Claim, beats_each, compare, points, score_difference, verdict_of
from mulo_sd.conformance.study.confirm import SCORE_MARGIN, equal_windows
from mulo_sd.conformance.study.goals import GOALS
from mulo_sd.conformance.study.summary import Results, common_scenes
from mulo_sd.conformance.study.sweep_claims import sweep_claims
from mulo_sd.conformance.study.variant import RATIO_2, Variant, chain_name, zipar_name
from mulo_sd.conformance.study.variants import ACCEPTED, AR, DEFAULT, FINE_ACCEPTED, ORACLE_ACCEPTED, ORACLE_DEFAULT

ORACLE_SHARE = 0.95


def _default_is_cheap(results: Results) -> Claim:
    goals = GOALS[results.world.name]
    target_text = "" if goals.target_passes is None else f"{goals.target_passes:.1f} target passes and "
    rejected_text = ""
    if goals.rejected is not None:
        rejected_text = " rejects {:.0%} to {:.0%} of the drafts,".format(*goals.rejected)
    text = (
        f"The default takes at most {target_text}{goals.passes:.3g} {'in' if target_text else 'passes in'} all,"
        f"{rejected_text} and scores {goals.margin.text}"
    )
    default, ar = results.control(DEFAULT), results.ar_images()
    scenes = common_scenes([default, ar])
    if not scenes:
        return Claim(text, "not measured", (f"needs {DEFAULT!r} and {AR!r}",))
    target = fmean(default[where].nfe_target for where in scenes)
    total = fmean(default[where].nfe for where in scenes)
    rejected = fmean(1 - default[where].acceptance_rate for where in scenes)
    score = score_difference(default, ar, scenes)
    low, high = goals.rejected or (0.0, 1.0)
    parts = {
        f"target passes: {target:.1f}": None if goals.target_passes is None else target <= goals.target_passes,
        f"total passes: {total:.1f}": total <= goals.passes,
        f"rejected: {100 * rejected:.1f}%": None if goals.rejected is None else low <= rejected <= high,
        f"score difference to AR: {points(score)}": goals.margin.allows(score),
    }
    facts = [fact if holds is None else f"{fact}: {verdict_of(holds)}" for fact, holds in parts.items()]
    return Claim(text, verdict_of(False not in parts.values()), (f"{len(scenes)} prompts", *facts))


def _beats_zipar(results: Results) -> Claim:
    text = (
        "At equal total passes the default beats ZipAR in score or encoder_frechet (the interval excludes 0): "
        "both the window with fewer passes and the one with more"
    )
    windows = equal_windows(results.control(DEFAULT))
    if not windows:
        return Claim(text, "not measured", (f"needs {DEFAULT!r}",))
    return _default_beats(text, [zipar_name(window) for window in windows], results)


def _default_beats(text: str, names: Sequence[str], results: Results) -> Claim:
    rivals = {name: results.control(name) for name in names}
    return beats_each(text, DEFAULT, results.control(DEFAULT), rivals, results)


def _beats_accepting(results: Results) -> Claim:
    text = (
        "The default beats accepting everything in score or encoder_frechet (the interval excludes 0): "
        "its own draft, and the finest one that is to be had for its passes"
    )
    return _default_beats(text, [ACCEPTED, FINE_ACCEPTED], results)


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
        facts += [f"{words} ({chain_name(drafters)}): {fact}" for fact in (verdict_of(holds[-1]), *comparison.facts())]
    if not holds:
        return Claim(text, "not measured", ("needs the section cascade",))
    return Claim(text, verdict_of(any(holds)), tuple(facts))


def _keeps_oracle_drafts(results: Results) -> Claim:
    text = "With an oracle draft the default keeps at least 95% of the score of accepting everything"
    default, accepted = results.control(ORACLE_DEFAULT), results.control(ORACLE_ACCEPTED)
    scenes = common_scenes([default, accepted])
    kept = sum(default[where].holds for where in scenes)
    whole = sum(accepted[where].holds for where in scenes)
    if not whole:
        return Claim(text, "not measured", (f"needs {ORACLE_DEFAULT!r} and {ORACLE_ACCEPTED!r}",))
    fact = f"{kept} of {len(scenes)} prompts hold against {whole}: {100 * kept / whole:.1f}%"
    difference = f"score difference: {points(score_difference(default, accepted, scenes))}"
    return Claim(text, verdict_of(kept >= ORACLE_SHARE * whole), (fact, difference))


CLAIMS: tuple[Callable[[Results], Claim], ...] = (
    _default_is_cheap,
    _beats_zipar,
    _beats_accepting,
    _coarser_is_cheaper,
    _keeps_oracle_drafts,
)


def claims_of(results: Results) -> list[Claim]:
    """Return every claim with its verdict."""
    return [*(claim(results) for claim in CLAIMS), *sweep_claims(results)]

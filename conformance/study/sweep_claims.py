"""What the study claims of sweeps: the target's own image in fewer passes, and MODE-PARALLEL in fewer still."""

from collections.abc import Sequence
from statistics import fmean

from mulo_sd.conformance.study.claim import Claim, beats_each, points, score_difference, verdict_of
from mulo_sd.conformance.study.confirm import CELLS
from mulo_sd.conformance.study.goals import GOALS, Margin
from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.summary import Results, common_scenes
from mulo_sd.conformance.study.sweeps import (
    FEW_PASSES,
    FINE_BY_SWEEPS,
    FINE_LIMITED,
    NO_LIMIT,
    SWEEPS_ACCEPTED,
    width_name,
)
from mulo_sd.conformance.study.variant import Variant, zipar_name
from mulo_sd.conformance.study.variants import AR


def ar_by_sweeps(width: int | None) -> str:
    """Return the name of the variant that draws AR's image by sweeps of a width."""
    return f"AR by sweeps, width {width_name(width)}"


def draws_ars_image(results: Results) -> Claim:
    """AR by sweeps: every token equal, in a fraction of the passes."""
    gains = GOALS[results.world.name].gains
    text = "AR by sweeps draws AR's very tokens, in at most " + " and ".join(
        f"{CELLS / gain:.0f} passes at width {width}" for width, gain in gains if gain > 1
    )
    ar, facts, holds = results.control(AR), [], []
    for width, gain in gains:
        rows = results.rows_of(Variant(ar_by_sweeps(width), "exact"))
        scenes = common_scenes([rows, ar])
        if not scenes:
            return Claim(text, "not measured", ("needs the section exact",))
        passes = fmean(rows[where].nfe for where in scenes)
        equal = sum(rows[where].tokens == ar[where].tokens for where in scenes)
        holds.append(passes <= CELLS / gain and equal == len(scenes))
        facts.append(f"width {width}: {equal} of {len(scenes)} images equal, token for token; {passes:.1f} passes")
    return Claim(text, verdict_of(all(holds)), tuple(facts))


def keeps_the_score(name: str, most_passes: float, margin: Margin, results: Results) -> Claim:
    """Return the claim that a variant keeps AR's score in so many passes."""
    text = f"{name[0].upper()}{name[1:]}: at most {most_passes:.3g} passes of all models, and {margin.text}"
    rows, ar = results.rows_of(Variant(name, "sweeps")), results.ar_images()
    scenes = common_scenes([rows, ar])
    if not scenes:
        return Claim(text, "not measured", (f"needs {name!r} and {AR!r}",))
    passes = {where: rows[where].nfe for where in scenes}
    score = score_difference(rows, ar, scenes)
    parts = {
        f"passes: {fmean(passes.values()):.1f}": fmean(passes.values()) <= most_passes,
        f"score difference to AR: {points(score)}": margin.allows(score),
    }
    facts = (f"{fact}: {verdict_of(holds)}" for fact, holds in parts.items())
    held = [sum(group[where].holds for where in scenes) / len(scenes) for group in (rows, ar)]
    share = f"{len(scenes)} prompts: {100 * held[0]:.1f}% hold, AR's {100 * held[1]:.1f}%"
    return Claim(text, verdict_of(all(parts.values())), (share, *facts))


def beats_equal_passes(name: str, others: Sequence[str], results: Results) -> Claim:
    """Return the claim that a variant beats what its passes could have bought."""
    text = (
        f"{name[0].upper()}{name[1:]}: beats ZipAR's narrowest window, its own draft accepted, and the finest draft "
        "that its passes buy, in score or encoder_frechet (the interval excludes 0)"
    )
    rivals: dict[str, dict[Scene, Row]] = {zipar_name(1): results.control(zipar_name(1))}
    rivals |= {other: results.rows_of(Variant(other, "sweeps")) for other in others}
    return beats_each(text, name, results.rows_of(Variant(name, "sweeps")), rivals, results)


def sweep_claims(results: Results) -> list[Claim]:
    """Return every claim about sweeps."""
    goals = GOALS[results.world.name]
    return [
        draws_ars_image(results),
        keeps_the_score(NO_LIMIT, *goals.no_limit, results),
        beats_equal_passes(NO_LIMIT, (SWEEPS_ACCEPTED, FINE_BY_SWEEPS), results),
        keeps_the_score(FEW_PASSES, *goals.few, results),
        beats_equal_passes(FEW_PASSES, (SWEEPS_ACCEPTED, FINE_LIMITED), results),
    ]

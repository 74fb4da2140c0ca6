"""From rows to figures: a line a variant, over the prompts that every variant of its section has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from mulo_sd.conformance.study.distances import Distances
from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.statistics import Estimate, bootstrap_interval, paired_difference, wilson
from mulo_sd.conformance.study.sweeps import AR_BY_SWEEPS
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import ACCEPTED, AR, DEFAULT, ORACLE_ACCEPTED, ORACLE_DEFAULT, OTHER_SEEDS
from mulo_sd.conformance.worlds.world import World


@dataclass(frozen=True)
class Results:
    """All that was drawn: rows by identity, and which identity a variant has.

    Attributes:
        rows: By identity and scene.
        distances: Between their images.
        identities: Of (section, name); without the variants that the bundle cannot decode.
        world: Whose prompts they are.
    """

    rows: dict[str, dict[Scene, Row]]
    distances: Distances
    identities: dict[tuple[str, str], str]
    world: World

    def rows_of(self, item: Variant) -> dict[Scene, Row]:
        """Return a variant's rows by scene; none where it was not drawn."""
        return self.rows.get(self.identities.get((item.section, item.name), ""), {})

    def control(self, name: str) -> dict[Scene, Row]:
        """Return the rows of a control by its name."""
        return self.rows_of(Variant(name, "controls"))

    def ar_images(self) -> dict[Scene, Row]:
        """Return AR's images: drawn one token a pass, and by sweeps where they were not.

        Both are the same tokens (a claim of its own), and by sweeps many more are to be had. Not for passes or times.
        """
        return self.rows_of(Variant(AR_BY_SWEEPS, "exact")) | self.control(AR)


@dataclass(frozen=True)
class Line:
    """A variant's figures; what compares with AR is None where AR, or its time, is missing.

    `encoder_frechet` is to AR's images of the same prompts and seeds. A variant that draws a token from the
    distribution that AR saw draws the same one, since noise depends on the seed only; this distance rewards it.
    `encoder_frechet_unpaired` is to AR's images of the same prompts with other seeds, where no noise is shared:
    AR's own is the floor. `equal_images` is the share of images that are AR's own, token for token.
    """

    section: str
    variant: str
    images: int
    score: Estimate
    per_task: dict[str, float]
    ar_score: float | None
    score_difference: Estimate | None
    encoder_frechet: Estimate | None
    encoder_frechet_unpaired: Estimate | None
    acceptance_rate: float
    resampled_rate: float
    nfe_target: float
    nfe_drafter: float
    nfe: float
    cycles: float
    seconds: float | None
    speed_up: float | None
    timed: int = field(default=0)
    equal_images: float | None = None


def common_scenes(groups: Sequence[dict[Scene, Row]]) -> list[Scene]:
    """Return the scenes that all groups have, in order; none where there are no groups."""
    return sorted(set.intersection(*(set(group) for group in groups))) if groups else []


def speed_up(rows: dict[Scene, Row], ar: dict[Scene, Row]) -> tuple[float | None, int]:
    """Return AR's seconds by a variant's over the prompts timed for both, and how many these are."""
    pairs = [(ar[where].seconds, row.seconds) for where, row in rows.items() if where in ar]
    timed = [(theirs, ours) for theirs, ours in pairs if theirs is not None and ours is not None]
    if not timed:
        return None, 0
    return sum(theirs for theirs, _ in timed) / sum(ours for _, ours in timed), len(timed)


def _frechet(
    groups: Mapping[str, dict[Scene, Row]], fixed: dict[Scene, Row], scenes: Sequence[Scene], distances: Distances
) -> dict[str, Estimate]:
    """Return each variant's distance to a fixed one by its name; none where that one lacks some of the scenes."""
    if len(scenes) < 2 or not set(scenes) <= set(fixed):
        return {}
    intervals = {name: bootstrap_interval(*distances.between(fixed, rows, scenes)) for name, rows in groups.items()}
    # Of equal images all is 0, and rounding may leave a bound below.
    return {name: Estimate(item.value, max(0.0, item.low), max(0.0, item.high)) for name, item in intervals.items()}


def _line(
    item: Variant,
    rows: dict[Scene, Row],
    ar: dict[Scene, Row],
    frechet: Estimate | None,
    unpaired: Estimate | None,
) -> Line:
    mine = list(rows.values())
    beside = [where for where in rows if where in ar]
    ratio, timed = speed_up(rows, ar)
    seconds = [row.seconds for row in mine if row.seconds is not None]
    tasks = sorted({(row.task_number, row.task) for row in mine})
    return Line(
        section=item.section,
        variant=item.name,
        images=len(mine),
        score=wilson(sum(row.holds for row in mine), len(mine)),
        per_task={task: fmean(row.holds for row in mine if row.task == task) for _, task in tasks},
        ar_score=fmean(ar[where].holds for where in beside) if beside else None,
        score_difference=(
            paired_difference([rows[where].holds for where in beside], [ar[where].holds for where in beside])
            if beside
            else None
        ),
        encoder_frechet=frechet,
        encoder_frechet_unpaired=unpaired,
        acceptance_rate=fmean(row.acceptance_rate for row in mine),
        resampled_rate=fmean(row.resampled_rate for row in mine),
        nfe_target=fmean(row.nfe_target for row in mine),
        nfe_drafter=fmean(row.nfe_drafter for row in mine),
        nfe=fmean(row.nfe for row in mine),
        cycles=fmean(row.cycles for row in mine),
        seconds=fmean(seconds) if seconds else None,
        speed_up=ratio,
        timed=timed,
        equal_images=fmean(rows[where].tokens == ar[where].tokens for where in beside) if beside else None,
    )


def lines_of_section(listed: Sequence[Variant], results: Results) -> list[Line]:
    """Return a line for AR, for the default and for each variant of a section that was drawn.

    All are over the same prompts, those that every one of them has: a Frechet distance depends on how many
    images it is between. The other controls (everything accepted, oracle drafts) stand beside them where they
    have those prompts, too.
    """
    section = listed[0].section
    named = {item.name: item for item in listed}
    groups = {name: results.control(name) for name in (AR, DEFAULT)} | {
        item.name: results.rows_of(item) for item in listed
    }
    groups = {name: rows for name, rows in groups.items() if rows}
    scenes = common_scenes(list(groups.values()))
    if not scenes or not set(groups) & set(named):
        return []
    beside = {name: results.control(name) for name in (ACCEPTED, ORACLE_DEFAULT, ORACLE_ACCEPTED)}
    groups = {name: rows for name, rows in beside.items() if set(scenes) <= set(rows)} | groups
    groups = {name: groups[name] for name in sorted(groups, key=lambda name: name not in (AR, DEFAULT))}
    ar = {where: groups[AR][where] for where in scenes} if AR in groups else {}
    items = [named.get(name, Variant(name, section)) for name in groups]
    return lines_of(items, groups, ar, results.control(OTHER_SEEDS), scenes, results.distances)


def lines_of(
    items: Sequence[Variant],
    groups: Mapping[str, dict[Scene, Row]],
    ar: dict[Scene, Row],
    other_seeds: dict[Scene, Row],
    scenes: Sequence[Scene],
    distances: Distances,
) -> list[Line]:
    """Return a line for each variant over some scenes.

    Args:
        items: The variants.
        groups: Their rows by name; each has all the scenes.
        ar: AR's rows; what compares with them is None where there are none.
        other_seeds: AR's rows of other seeds, likewise.
        scenes: The prompts.
        distances: Between the images of all of them.
    """
    paired = _frechet(groups, ar, scenes, distances)
    unpaired = _frechet(groups, other_seeds, scenes, distances)
    return [
        _line(
            item,
            {where: groups[item.name][where] for where in scenes},
            ar,
            paired.get(item.name),
            unpaired.get(item.name),
        )
        for item in items
    ]

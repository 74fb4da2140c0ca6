"""The lines of the comparison: what the study says of a row, beside what its passes bought and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mulo_sd.conformance.compare.cost import Cost
from mulo_sd.conformance.compare.entries import ENTRIES, Entry
from mulo_sd.conformance.compare.methods import AR_METHOD
from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.summary import Line, Results, common_scenes, lines_of
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import AR, OTHER_SEEDS

# Points below AR that a score may lie and still count as equal.
SCORE_MARGIN = 0.01
# AR's very images, of which many are to be had.
AR_BY_SWEEPS = "ar-sweeps: width 16"
Group = dict[Scene, Row]


@dataclass(frozen=True)
class CompareLine:
    """A row's figures.

    Attributes:
        entry: Whose they are.
        figures: As the study has them, over the prompts that all rows of the table have.
        tokens_a_pass: Of the target: cells of the grid by its passes.
        by_model: Mean passes by the model's number; None where some images were drawn before that was noted.
        weighed: Passes of all models, each times its layers by the target's; without passes by model that of drafters
            on coarser grids, which have the target's layers.
        fed_a_pass: Tokens that a pass of the target fed, on average, its prefill included; None likewise.
        cost: None where it was not measured.
    """

    entry: Entry
    figures: Line
    tokens_a_pass: float
    by_model: dict[str, float] | None
    weighed: float
    fed_a_pass: float | None
    cost: Cost | None

    @property
    def keeps_score(self) -> bool:
        """Whether its score is no more than a point below AR's, over the same prompts."""
        difference = self.figures.score_difference
        return difference is not None and difference.value >= -SCORE_MARGIN


def ar_images(results: Results) -> Group:
    """Return AR's images: drawn one token a pass, and by sweeps where they were not; both are the same tokens."""
    by_sweeps = next(entry for entry in ENTRIES if entry.name == AR_BY_SWEEPS)
    return results.rows_of(by_sweeps.variant) | results.rows_of(Variant(AR, AR_METHOD))


def complete(
    entries: Sequence[Entry], results: Results, per_task: int, tasks: int
) -> tuple[dict[str, Group], dict[str, int]]:
    """Return the rows of what was drawn over all prompts, and how many prompts each of the others has.

    Args:
        entries: Rows of the comparison.
        results: All that was drawn.
        per_task: Scenes of each task that a table has.
        tasks: How many there are.
    """
    wanted = {(task, index) for task in range(tasks) for index in range(per_task)}
    groups, short = {}, {}
    for entry in entries:
        rows = results.rows_of(entry.variant)
        if wanted <= set(rows):
            groups[entry.name] = {where: rows[where] for where in sorted(wanted)}
        else:
            short[entry.name] = len(wanted & set(rows))
    return groups, short


def _mean_by_model(rows: Sequence[Row]) -> dict[str, float] | None:
    counts = [row.nfe_by_model for row in rows if row.nfe_by_model is not None]
    if len(counts) < len(rows):
        return None
    models = sorted({model for count in counts for model in count}, key=int)
    return {model: fmean(count.get(model, 0) for count in counts) for model in models}


def _weighed(by_model: Mapping[str, float], layers: Mapping[str, int]) -> float:
    return sum(count * layers[model] for model, count in by_model.items()) / layers["0"]


def compare_lines(
    entries: Sequence[Entry],
    groups: Mapping[str, Group],
    results: Results,
    costs: Mapping[str, Cost],
    layers: Mapping[str, int],
) -> list[CompareLine]:
    """Return the lines of the rows that have all prompts, in the order of the entries.

    Args:
        entries: Rows of the comparison.
        groups: Of `complete`.
        results: All that was drawn.
        costs: By identity.
        layers: Of each model by its number.
    """
    listed = [entry for entry in entries if entry.name in groups]
    scenes = common_scenes(list(groups.values()))
    if not listed or not scenes:
        return []
    ar = ar_images(results)
    ar = {where: ar[where] for where in scenes} if set(scenes) <= set(ar) else {}
    other_seeds = results.rows_of(Variant(OTHER_SEEDS, AR_METHOD))
    figures = lines_of(
        [Variant(entry.name, entry.method) for entry in listed], groups, ar, other_seeds, scenes, results.distances
    )
    return [
        _compare_line(entry, line, groups[entry.name], results, costs, layers)
        for entry, line in zip(listed, figures, strict=True)
    ]


def _compare_line(
    entry: Entry,
    figures: Line,
    group: Group,
    results: Results,
    costs: Mapping[str, Cost],
    layers: Mapping[str, int],
) -> CompareLine:
    rows = list(group.values())
    fed = [row.fed_target for row in rows if row.fed_target is not None]
    whole = len(fed) == len(rows)
    passes = sum(row.nfe_target for row in rows)
    variant, by_model = entry.variant, _mean_by_model(rows)
    return CompareLine(
        entry=entry,
        figures=figures,
        tokens_a_pass=sum(row.height * row.width for row in rows) / passes,
        by_model=by_model,
        weighed=figures.nfe if by_model is None else _weighed(by_model, layers),
        fed_a_pass=sum(fed) / passes if whole else None,
        cost=costs.get(results.identities.get((variant.section, variant.name), "")),
    )


def cheapest(lines: Sequence[CompareLine]) -> list[CompareLine]:
    """Return each method's row of the fewest passes, by layers, that keeps AR's score; fewest first."""
    keeping = [line for line in lines if line.keeps_score]
    best: dict[str, CompareLine] = {}
    for line in keeping:
        known = best.get(line.entry.method)
        if known is None or line.weighed < known.weighed:
            best[line.entry.method] = line
    return sorted(best.values(), key=lambda line: line.weighed)


def fastest(lines: Sequence[CompareLine]) -> list[CompareLine]:
    """Return each method's row of the fewest seconds, against AR's of the same run, that keeps AR's score."""
    best: dict[str, tuple[float, CompareLine]] = {}
    for line in lines:
        if line.cost is None or not line.keeps_score:
            continue
        known = best.get(line.entry.method)
        if known is None or line.cost.over_ar.median > known[0]:
            best[line.entry.method] = (line.cost.over_ar.median, line)
    return [line for _, line in sorted(best.values(), key=lambda pair: -pair[0])]


def lossy_by_more(lines: Sequence[CompareLine]) -> list[CompareLine]:
    """Return, for each method none of whose rows keeps AR's score, that of the highest score."""
    keeping = {line.entry.method for line in lines if line.keeps_score}
    best: dict[str, CompareLine] = {}
    for line in lines:
        known = best.get(line.entry.method)
        if line.entry.method not in keeping and (known is None or line.figures.score.value > known.figures.score.value):
            best[line.entry.method] = line
    return sorted(best.values(), key=lambda line: line.weighed)

"""The comparison in Markdown: by passes, by seconds, all rows, scores by task, and the table of methods."""

from collections.abc import Iterable, Sequence

from mulo_sd.conformance.compare.lines import CompareLine, cheapest, fastest, lossy_by_more
from mulo_sd.conformance.compare.methods import METHODS
from mulo_sd.conformance.study.report import interval, markdown

LOSSLESS = {"image": "AR's image", "distribution": "AR's distribution", "no": "no"}
READ = {
    "code": "published code",
    "paper": "the paper",
    "second-hand": "second-hand",
    "ours": "-",
}
NAME = ("row", "setting", "lossless")
PASSES = ("passes by layers", "passes", "of the target", "of drafters", "tokens a target pass")
SCORE = ("score %", "less AR", "distance to AR", "other seeds", "AR's image %")
COST = ("s an image", "x AR", "further weights, MB", "further memory, MB")


def _by_model(line: CompareLine) -> str:
    """Return the drafters' passes, and of several drafters each one's."""
    drafters = {model: count for model, count in (line.by_model or {}).items() if model != "0"}
    text = f"{line.figures.nfe_drafter:.1f}"
    return text if len(drafters) < 2 else f"{text} ({' + '.join(f'{count:.1f}' for count in drafters.values())})"


def _passes(line: CompareLine) -> tuple[str, ...]:
    figures = line.figures
    return (
        f"{line.weighed:.1f}",
        f"{figures.nfe:.1f}",
        f"{figures.nfe_target:.1f}",
        _by_model(line),
        f"{line.tokens_a_pass:.2f}",
    )


def _score(line: CompareLine) -> tuple[str, ...]:
    figures = line.figures
    return (
        interval(figures.score, 100, 1),
        interval(figures.score_difference, 100, 1, "+"),
        interval(figures.encoder_frechet, 1, 3),
        interval(figures.encoder_frechet_unpaired, 1, 3),
        "-" if figures.equal_images is None else f"{100 * figures.equal_images:.0f}",
    )


def _cost(line: CompareLine) -> tuple[str, ...]:
    cost = line.cost
    if cost is None:
        return ("-",) * len(COST)
    return (
        f"{cost.seconds.median:.2f}",
        cost.over_ar.text(),
        f"{cost.extra_weights / 1e6:.1f}",
        f"{cost.extra_memory / 1e6:.0f}",
    )


def _name(line: CompareLine) -> tuple[str, str, str]:
    return (line.entry.name, line.entry.kind, LOSSLESS[line.entry.of.lossless])


def _table(lines: Iterable[CompareLine]) -> str:
    rows = ((*_name(line), *_passes(line), *_score(line), *_cost(line)) for line in lines)
    return markdown((*NAME, *PASSES, *SCORE, *COST), rows)


def _over(lines: Sequence[CompareLine]) -> str:
    return f"Scores over {lines[0].figures.images} prompts."


def by_passes(lines: Sequence[CompareLine]) -> str:
    """Return each method's row of the fewest passes within a point of AR, and the best of methods that have none."""
    kept, lost = cheapest(lines), lossy_by_more(lines)
    text = f"### By passes, at a score within 1 point of AR\n\n{_over(lines)}\n\n{_table(kept)}\n"
    if lost:
        text += (
            f"\nNo row of these methods keeps the score; the row of the highest score stands here.\n\n{_table(lost)}\n"
        )
    return text


def by_seconds(lines: Sequence[CompareLine]) -> str:
    """Return each method's row of the fewest seconds within a point of AR."""
    timed = fastest(lines)
    title = "### By seconds, at a score within 1 point of AR"
    if not timed:
        return f"{title}\n\nNothing was timed; `--time` does.\n"
    over = _over(lines)
    machines = sorted({f"{line.cost.machine}, {line.cost.backend}" for line in timed if line.cost})
    rows = ((*_name(line), *_cost(line), *_passes(line), *_score(line)[:2]) for line in timed)
    table = markdown((*NAME, *COST, *PASSES, *SCORE[:2]), rows)
    return f"{title}\n\nSeconds on {'; '.join(machines)}. {over}\n\n{table}\n"


def every_row(lines: Sequence[CompareLine]) -> str:
    """Return all rows, as listed."""
    return f"### Every row\n\n{_table(lines)}\n"


def by_task(lines: Sequence[CompareLine], tasks: Sequence[str]) -> str:
    """Return the scores by task, in percent."""
    rows = ((line.entry.name, *(f"{100 * line.figures.per_task[task]:.1f}" for task in tasks)) for line in lines)
    return f"### Score by task, %\n\n{markdown(('row', *tasks), rows)}\n"


def table_of_methods() -> str:
    """Return what is compared: parts, promise, training and source of each method."""
    rows = (
        (
            f"`{method.name}`",
            method.title,
            f"`{method.mode}`",
            " / ".join(method.parts),
            LOSSLESS[method.lossless],
            method.trains,
            method.source,
            READ[method.read],
        )
        for method in METHODS
    )
    columns = ("row", "method", "mode", "draft / acceptance / correction", "lossless", "trains", "source", "rule from")
    return f"{markdown(columns, rows, right=False)}\n"

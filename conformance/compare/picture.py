"""One picture: score against passes, a curve a method."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib import pyplot

from mulo_sd.conformance.compare.lines import CompareLine
from mulo_sd.conformance.compare.methods import AR_METHOD
from mulo_sd.conformance.study.figures import MARKERS, mark_passes

matplotlib.use("Agg")


def draw_comparison(lines: Sequence[CompareLine], world: str) -> bytes:
    """Return the picture, PNG: every method's rows with 95% intervals of the score, joined in the order of passes.

    Args:
        lines: Of the table.
        world: In words, for the heading.
    """
    figure, axes = pyplot.subplots(figsize=(15, 8), layout="constrained")
    methods = list(dict.fromkeys(line.entry.method for line in lines))
    colours = pyplot.get_cmap("turbo")
    for number, method in enumerate(methods):
        mine = sorted((line for line in lines if line.entry.method == method), key=lambda line: line.weighed)
        values = [100 * line.figures.score.value for line in mine]
        if method == AR_METHOD:
            axes.axhline(values[0], color="black", linestyle="--", linewidth=1, label="AR")
            continue
        low = [value - 100 * line.figures.score.low for value, line in zip(values, mine, strict=True)]
        high = [100 * line.figures.score.high - value for value, line in zip(values, mine, strict=True)]
        axes.errorbar(
            [line.weighed for line in mine],
            values,
            yerr=[low, high],
            fmt=MARKERS[number % len(MARKERS)] + "-",
            color=colours((number + 0.5) / len(methods)),
            markersize=6,
            linewidth=1,
            elinewidth=0.6,
            capsize=2,
            label=mine[0].entry.of.title,
        )
    if any(line.entry.method != AR_METHOD for line in lines):
        mark_passes(axes)
    axes.set(
        title=f"score against passes: {lines[0].figures.images} prompts of {world}, 95% intervals",
        xlabel="passes of all models, by layers (log scale)",
        ylabel="prompts that hold, %",
    )
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    pyplot.close(figure)
    return content.getvalue()

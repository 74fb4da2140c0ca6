"""Pictures of a section: score and distance to AR against total passes."""

import io
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from mulo_sd.conformance.study.statistics import Estimate
from mulo_sd.conformance.study.summary import Line
from mulo_sd.conformance.study.variants import AR, OTHER_SEEDS

matplotlib.use("Agg")

MARKERS = "osD^vP*X"
LEVELS = {AR: "--", OTHER_SEEDS: ":"}
# Of a point's number beside it, in points: neighbours in a table are often neighbours in the picture.
PLACES = ((8, 6), (-8, 6), (8, -12), (-8, -12))


def mark_passes(axes: Axes) -> None:
    """Make the axis of passes logarithmic, with more marks where it spans little."""
    axes.set_xscale("log", base=2)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(2, subs=(1.0, 1.25, 1.5, 1.75) if high < 8 * low else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _points(axes: Axes, lines: Sequence[Line], estimate_of: Callable[[Line], Estimate | None], scale: float) -> None:
    """Draw a numbered point with its interval for each line, AR as a level; the legend names the numbers."""
    colours = pyplot.get_cmap("turbo")
    for number, line in enumerate(lines):
        estimate = estimate_of(line)
        if estimate is None:
            continue
        value, low, high = (scale * part for part in (estimate.value, estimate.low, estimate.high))
        if line.variant in LEVELS:  # so many more passes than the others that they would be crowded together
            axes.axhline(value, color="black", linestyle=LEVELS[line.variant], linewidth=1, label=line.variant)
            continue
        axes.errorbar(
            line.nfe,
            value,
            yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            fmt=MARKERS[number % len(MARKERS)],
            color=colours((number + 0.5) / len(lines)),
            markersize=7,
            elinewidth=0.8,
            capsize=2,
            label=f"{number + 1}  {line.variant}",
        )
        axes.annotate(
            str(number + 1),
            (line.nfe, value),
            xytext=PLACES[number % len(PLACES)],
            textcoords="offset points",
            ha="center",
            fontsize=9,
            weight="bold",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.6},
        )
    mark_passes(axes)
    axes.set_xlabel("passes of target and drafters (log scale)")
    axes.grid(alpha=0.3)


def draw_section(lines: Sequence[Line], world: str) -> bytes:
    """Return a section's picture, PNG: the score and the two distances to AR, with 95% intervals.

    Args:
        lines: Of the section.
        world: In words, for the heading.
    """
    columns = 1 + (len(lines) - 1) // 20
    figure, axes = pyplot.subplots(1, 3, figsize=(18 + 3 * columns, 8), layout="constrained")
    _points(axes[0], lines, lambda line: line.score, 100)
    _points(axes[1], lines, lambda line: line.encoder_frechet, 1)
    _points(axes[2], lines, lambda line: line.encoder_frechet_unpaired, 1)
    axes[0].set(title="score", ylabel="prompts that hold, %")
    axes[1].set(title="distance to AR, same prompts and seeds", ylabel="encoder_frechet (no FID), lower is nearer")
    axes[2].set(title="distance to AR, same prompts, other seeds", ylabel="encoder_frechet, unpaired (no FID)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.suptitle(f"{lines[0].section}: {lines[0].images} prompts of {world}, 95% intervals")
    figure.legend(handles, labels, loc="outside right center", fontsize=9, ncol=columns)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    pyplot.close(figure)
    return content.getvalue()

"""The benchmark's pictures."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from mulo_sd.conformance.bench.demo_table import ModeRow
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.conformance.bench.shape_rows import NOTE, ShapeRow
from mulo_sd.conformance.bench.throughput import ThroughputRow

matplotlib.use("Agg")

MARKERS = "osD^vP*X"
LEVELS = ("--", ":", "-.")


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    pyplot.close(figure)
    return content.getvalue()


def draw_modes(rows: Sequence[ModeRow], title: str) -> bytes:
    """Return a picture of the modes' times, PNG: the backend's part and the host's, with quartiles and speed-ups."""
    figure, axes = pyplot.subplots(figsize=(10, 1.4 + 0.6 * len(rows)))
    places = range(len(rows))
    medians = [row.wall.median for row in rows]
    host = [row.wall.median * (row.host_share.median if row.host_share else 0) for row in rows]
    rest = [whole - part for whole, part in zip(medians, host, strict=True)]
    axes.barh(places, rest, color="#4878a8", label="inside the backend's calls (eager: all of it)")
    axes.barh(places, host, left=rest, color="#e1a13c", label="host")
    low = [max(0.0, row.wall.median - row.wall.low) for row in rows]
    high = [max(0.0, row.wall.high - row.wall.median) for row in rows]
    axes.errorbar(medians, places, xerr=[low, high], fmt="none", color="black", capsize=3, linewidth=1)
    for height, row in enumerate(rows):
        over = "" if row.over_engine_ar is None else f"  {row.over_engine_ar.median:.2f} x engine AR"
        axes.annotate(
            f"{row.wall.median:.2f} s{over}",
            (row.wall.high, height),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(places, [row.label for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * max(row.wall.high for row in rows))
    axes.set(title=title, xlabel="seconds an image: median, with quartiles")
    axes.grid(axis="x", alpha=0.3)
    # Below the bars: beside them it would cover a number.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.8 / (0.4 + 0.5 * len(rows))), ncol=2, fontsize=9)
    figure.tight_layout()
    return _png(figure)


def draw_passes(rows: Sequence[PassRow], title: str) -> bytes:
    """Return a picture of passes by T, PNG: measured, and the floors of every precision."""
    # Of several fillings at T = 1 the fullest: the others stand in the table.
    by_fed = {row.size.fed: row for row in rows}
    shown = [by_fed[fed] for fed in sorted(by_fed)]
    fed = [row.size.fed for row in shown]
    figure, axes = pyplot.subplots(figsize=(9, 5.5))
    axes.plot(fed, [1e3 * row.seconds for row in shown], "o-", color="#4878a8", linewidth=2, label="measured")
    precision = shown[0].floor.precision
    floors = [1e3 * row.floor.seconds for row in shown]
    axes.plot(fed, floors, "s-", color="#c44e52", linewidth=2, label=f"floor, {precision}")
    for number, name in enumerate(floor.precision for floor in shown[0].others):
        values = [1e3 * row.others[number].seconds for row in shown]
        axes.plot(fed, values, MARKERS[2 + number % 6] + ":", color="grey", linewidth=1, label=f"floor, {name}")
    for row, floor in zip(shown, floors, strict=True):
        axes.annotate(
            row.floor.binds,
            (row.size.fed, floor),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#c44e52",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(fed, [str(value) for value in fed])
    axes.set(title=title, xlabel="tokens fed by a pass (T), full cache", ylabel="milliseconds (log scale)")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=9)
    figure.tight_layout()
    return _png(figure)


def draw_throughput(rows: Sequence[ThroughputRow], title: str) -> bytes:
    """Return a picture of images a second by how many are drawn at once, PNG."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for marker, label in zip(MARKERS, dict.fromkeys(row.label for row in rows), strict=False):
        own = [row for row in rows if row.label == label]
        axes.plot([row.size for row in own], [row.per_second for row in own], marker=marker, label=label)
    sizes = sorted({row.size for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel="images at once", ylabel="images a second")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.tight_layout()
    return _png(figure)


def draw_shape(rows: Sequence[ShapeRow], title: str) -> bytes:
    """Return a picture of a shape's latency by acceptance, PNG; modes that draft nothing are levels."""
    figure, axes = pyplot.subplots(figsize=(9.5, 5.5))
    colours = pyplot.get_cmap("tab10")
    for number, name in enumerate(dict.fromkeys(row.mode for row in rows)):
        own = sorted((row for row in rows if row.mode == name), key=lambda row: row.acceptance or 0.0)
        colour = colours(number % 10)
        if own[0].acceptance is None:
            style = LEVELS[number % len(LEVELS)]
            axes.axhline(own[0].seconds.median, color=colour, linestyle=style, label=own[0].label)
            continue
        axes.errorbar(
            [row.acceptance or 0.0 for row in own],
            [row.seconds.median for row in own],
            yerr=[
                [max(0.0, row.seconds.median - row.seconds.low) for row in own],
                [max(0.0, row.seconds.high - row.seconds.median) for row in own],
            ],
            fmt=MARKERS[number % len(MARKERS)] + "-",
            color=colour,
            capsize=3,
            label=own[0].label,
        )
    axes.set_yscale("log")
    axes.set(title=f"{title}\n{NOTE}", xlabel="declared acceptance rate", ylabel="seconds an image (log scale)")
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=9)
    figure.tight_layout()
    return _png(figure)

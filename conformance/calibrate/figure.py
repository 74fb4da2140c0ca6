"""The frontier of a calibration: speed against agreement."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib

from mulo_sd.conformance.calibrate.search import Measured
from mulo_sd.engines.files.whole_files import write_whole

matplotlib.use("Agg")
from matplotlib import pyplot


def draw_frontier(
    measured: Sequence[Measured], chosen: Measured | None, lowest: float, autoregressive_seconds: float, path: Path
) -> None:
    """Draw each candidate's speed-up over MODE-AR against its agreement, and the one that was chosen.

    Args:
        measured: Candidates; those without samples are left out.
        chosen: Marked with a star.
        lowest: The agreement to keep, drawn as a line.
        autoregressive_seconds: An image of MODE-AR.
        path: PNG to write.
    """
    shown = [item for item in measured if item.samples]
    figure, axis = pyplot.subplots(figsize=(7.5, 4.8))
    groups = sorted({(item.candidate.is_by_sweeps, item.candidate.radius) for item in shown})
    for is_by_sweeps, radius in groups:
        curve = [
            item for item in shown if (item.candidate.is_by_sweeps, item.candidate.radius) == (is_by_sweeps, radius)
        ]
        axis.scatter(
            [autoregressive_seconds / item.cost[0] for item in curve],
            [item.agreement for item in curve],
            s=[18 + 4 * len(item.samples) for item in curve],
            alpha=0.7,
            marker="^" if is_by_sweeps else "o",
            label=f"radius {radius}" + (", by sweeps" if is_by_sweeps else ""),
        )
    if chosen is not None:
        point = (autoregressive_seconds / chosen.cost[0], chosen.agreement)
        axis.scatter(*point, marker="*", s=260, color="black", label=f"chosen: {chosen.candidate.name}")
    axis.axhline(lowest, linestyle="--", color="grey", label="agreement to keep")
    axis.set(
        xlabel="speed-up over autoregressive decoding, same engines, same run",
        ylabel="agreement, 0 is the target's own",
        title="larger marks: more prompts",
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    write_whole(path, partial(figure.savefig, dpi=110))
    pyplot.close(figure)

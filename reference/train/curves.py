"""The curves of a run, as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from mulo_sd.engines.files.whole_files import write_whole
from mulo_sd.reference.train.run_log import Row


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG with each metric of a run's log against the steps taken; losses share one picture.

    Args:
        rows: Of the log, each with "step"; at least one.
        path: Of the PNG.
    """
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("step", "held_out")]
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.5 * len(names), 3.2), squeeze=False)
    for name, axis in zip(names, axes[0], strict=True):
        for shown in (name, "held_out") if name == "loss" else (name,):
            points = [(row["step"], row[shown]) for row in rows if shown in row]
            if points:
                axis.plot(*zip(*points, strict=True), label=shown)
        axis.set(title=name, xlabel="step")
        axis.grid(alpha=0.3)
        if name == "loss":
            axis.legend()
    figure.tight_layout()
    write_whole(path, lambda beside: figure.savefig(beside, dpi=90))
    pyplot.close(figure)

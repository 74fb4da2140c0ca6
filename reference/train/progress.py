"""Progress of a training run: a bar on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 30.0


def metrics_text(metrics: dict[str, float]) -> str:
    """Return metrics for people, such as "loss 2.31 accuracy 0.42"."""
    return " ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != "step")


def time_text(seconds: float) -> str:
    """Return a time for people, such as "40 s" or "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class RunProgress:
    """Shows how far a run is."""

    def __init__(self, console: Console, name: str, progress: Progress | None, step: int) -> None:
        self.console, self.name, self.progress = console, name, progress
        self.task = progress.add_task(name, total=None, completed=step, metrics="") if progress else None
        self.first, self.started, self.said = step, time.monotonic(), time.monotonic()

    def show(self, step: int, steps: int, metrics: dict[str, float] | None) -> None:
        """Show that `step` of `steps` are done, with the metrics of a row of the log if there is a new one."""
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=step, total=steps)
            if metrics is not None:
                self.progress.update(self.task, metrics=metrics_text(metrics))
            return
        now = time.monotonic()
        if metrics is not None and (now - self.said >= LINE_SECONDS or step == steps):
            left = (now - self.started) / max(1, step - self.first) * (steps - step)
            after = f"{time_text(left)} left" if step < steps else "done"
            self.console.print(f"{self.name}: step {step} of {steps}, {metrics_text(metrics)}, {after}")
            self.said = now


@contextmanager
def run_progress(name: str, step: int, quiet: bool) -> Iterator[RunProgress]:
    """Show the progress of a run from `step` on.

    Args:
        name: Of the run.
        step: Where it begins.
        quiet: Show nothing: one of several workers shows it.
    """
    console = Console(quiet=quiet, soft_wrap=True)
    if quiet or not console.is_terminal:
        yield RunProgress(console, name, None, step)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[metrics]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield RunProgress(console, name, progress, step)

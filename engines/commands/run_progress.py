"""Progress of a run over many prompts: a bar on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def shown_progress(
    console: Console, total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Show how many images exist; yield a function to call with their number.

    Args:
        console: Where to show it: on a terminal a bar, else a line when the run begins, every 30 s, and at the end.
        total: Images of the whole run.
        clock: Returns the time in seconds.
    """
    if console.is_terminal:
        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=total)
            yield lambda done: progress.update(bar, completed=done)
        return
    lines = _Lines(console, total, clock)
    yield lines
    lines.print_line()


class _Lines:
    """Progress as lines of a log."""

    def __init__(self, console: Console, total: int, clock: Callable[[], float]) -> None:
        self._console, self._total, self._clock = console, total, clock
        self._started = self._last = clock()
        self._first: int | None = None
        self._done = 0

    def __call__(self, done: int) -> None:
        self._done, is_first = done, self._first is None
        if is_first:
            self._first = done
        if is_first or self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self.print_line()

    def print_line(self) -> None:
        self._last = self._clock()
        seconds, drawn = self._last - self._started, self._done - (self._first or 0)
        missing = self._total - self._done
        left = f", about {_time(missing * seconds / drawn)} to go" if drawn and missing else ""
        line = f"images: {self._done} of {self._total} after {_time(seconds)}{left}"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

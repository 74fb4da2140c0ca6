"""Long commands end alike however they are asked to: by Ctrl-C or SIGTERM, in the foreground or as a shell's job."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def signals_interrupt() -> AbstractContextManager[None]:
    """Let SIGTERM end the block as Ctrl-C does, and Ctrl-C too where a shell made this a job of the background."""
    return signals_handled(signal.default_int_handler)


@contextmanager
def signals_handled(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    """Give both signals a handler, one of Python's or `SIG_IGN`, until the end of the block; of the main thread."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)

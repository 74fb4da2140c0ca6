"""Long commands end alike however they are asked to: by Ctrl-C or SIGTERM, in the foreground or as a shell's job."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, and Ctrl-C too where a shell made this a job of the background."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

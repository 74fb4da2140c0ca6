"""Keep the terminal for a command's own lines: Ray's log goes into Ray's files alone."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO, cast

from ray.data import DataContext

from mulo_sd.engines.commands.command_line import guarded

STANDARD_ERROR = 2


class _Own:
    """A stream that drops what Ray's threads print."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        written: int = self._stream.write(text)
        return written


@contextlib.contextmanager
def ray_log_in_files() -> Iterator[None]:
    """Drop what Ray prints as well as it logs, until the end; `sys.stderr` stays, `sys.stdout` takes nothing.

    Ray prints to both, and its native library to the descriptor of standard error; so `sys.stderr` gets a descriptor
    of its own.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    with (
        open(os.devnull, "w", encoding="utf-8") as nothing,  # noqa: PTH123  # a device
        contextlib.redirect_stdout(nothing),
        _own_descriptor(nothing) if _has_descriptor() else contextlib.nullcontext(),
        contextlib.redirect_stderr(cast(TextIO, _Own(sys.stderr))),
    ):
        yield


def _has_descriptor() -> bool:
    try:
        return sys.stderr.fileno() == STANDARD_ERROR
    except (OSError, ValueError):  # closed, or no file of the system
        return False


@contextlib.contextmanager
def _own_descriptor(nothing: TextIO) -> Iterator[None]:
    sys.stderr.flush()
    with os.fdopen(os.dup(STANDARD_ERROR), "w", buffering=1, encoding="utf-8") as stream:
        os.dup2(nothing.fileno(), STANDARD_ERROR)
        try:
            with contextlib.redirect_stderr(cast(TextIO, guarded(stream))):
                yield
        finally:
            os.dup2(stream.fileno(), STANDARD_ERROR)

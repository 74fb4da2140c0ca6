"""Keep the terminal for a command's own lines: Ray's log goes into Ray's files alone."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from ray.data import DataContext

from mulo_sd.engines.commands.command_line import guarded

STANDARD_ERROR = 2


@contextmanager
def ray_log_in_files() -> Iterator[None]:
    """Drop what Ray prints as well, until the end.

    Its native library writes warnings to the descriptor of standard error; `sys.stderr` gets a descriptor of its own.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if _has_descriptor():
        with _without_descriptor():
            yield
    else:
        yield


def _has_descriptor() -> bool:
    try:
        return sys.stderr.fileno() == STANDARD_ERROR
    except (OSError, ValueError):  # closed, or no file of the system
        return False


@contextmanager
def _without_descriptor() -> Iterator[None]:
    sys.stderr.flush()
    before = sys.stderr
    with os.fdopen(os.dup(STANDARD_ERROR), "w", buffering=1, encoding="utf-8") as stream:
        with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123  # a device
            os.dup2(nothing.fileno(), STANDARD_ERROR)
        sys.stderr = cast(TextIO, guarded(stream))
        try:
            yield
        finally:
            sys.stderr.flush()
            sys.stderr = before
            os.dup2(stream.fileno(), STANDARD_ERROR)

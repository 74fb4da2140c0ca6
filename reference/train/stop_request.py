"""Ctrl-C and SIGTERM ask a run to end: it writes its checkpoint first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from mulo_sd.engines.commands.interrupts import SIGNALS


class Stopped(Exception):  # noqa: N818  # no error
    """A run that was asked to end, and has written its checkpoint; its message is one line for the user."""


class _BrokenOff(BaseException):
    """Ends a block that need not be finished; nothing takes it for an error."""


class StopRequest:
    """Notes that SIGINT or SIGTERM came, between `__enter__` and `__exit__`.

    Args:
        patient: However often the signals come they are noted; else the second one raises KeyboardInterrupt.
        deaf: They are not even noted: another process decides.
    """

    def __init__(self, patient: bool = False, deaf: bool = False) -> None:
        self.patient, self.deaf = patient, deaf
        self.came = False
        self._may_break_off = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        if self.deaf:
            return
        if self.came and not self.patient:
            raise KeyboardInterrupt
        self.came = True
        if self._may_break_off:
            self._may_break_off = False
            raise _BrokenOff

    @contextmanager
    def breaks_off(self) -> Iterator[None]:
        """Let a request end the block at once: what it makes can be made again."""
        try:
            self._may_break_off = True
            try:
                yield
            finally:
                self._may_break_off = False
        except _BrokenOff:
            pass

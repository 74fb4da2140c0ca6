"""How every command begins and ends: an exit status and one line, no traceback, for errors from outside.

Standard output may be a pipe whose reader has gone or a full disk, or lack a character. The command then finishes its
work and its exit status tells: 141 for a closed pipe, as the shell's own tools end, and 2 with a line on standard error
for anything else.
"""

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TextIO, cast

CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell tells of a command that the signal ended
INTERRUPTED = 130  # 128 + SIGINT
UNUSABLE = 2  # the request cannot be used, or the system failed it


class _Output:
    """A standard stream that never raises: it keeps the first error and drops all later output."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _guarded(self, call: Callable[[], Any]) -> None:
        if self.error is None:
            try:
                call()
            except OSError as error:
                self.error = error
                self._discard_the_rest()

    def _discard_the_rest(self) -> None:
        """Point the stream's file at the null device, so that flushing the buffers at the end raises nothing."""
        try:
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, self._stream.fileno())
            os.close(null_device)
        except (OSError, ValueError):  # no file of the system
            return

    def write(self, text: str) -> int:
        self._guarded(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._guarded(self._stream.flush)


def guarded(stream: TextIO | None) -> _Output:
    """Return a stream that prints every character and never raises; a closed stream drops everything."""
    if stream is None:  # closed before the command began
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (a stream for the whole process)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return _Output(stream)


def _ended(main: Callable[[], int]) -> int:
    """Run a command and return its exit status; an interrupt or an error of the system becomes a status too."""
    try:
        return main()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return UNUSABLE
    except MemoryError:
        print("error: not enough memory", file=sys.stderr)
        return UNUSABLE


def command(main: Callable[[], int]) -> Callable[[], int]:
    """Decorate a command's `main`, which returns the exit status, so that no error from outside ends in a traceback.

    Every command's `main` has it, whether Python's `-m` or an installed script calls it.
    """

    @wraps(main)
    def run() -> int:
        streams = sys.stdout, sys.stderr
        output, errors = guarded(sys.stdout), guarded(sys.stderr)
        sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
        try:
            return _flushed(_ended(main), output, errors)
        except SystemExit as stop:  # argparse's, after its help or an error of usage
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            status = 1 if isinstance(stop.code, str) else stop.code or 0
            raise SystemExit(_flushed(status, output, errors)) from None
        finally:
            sys.stdout, sys.stderr = streams

    return run


def _flushed(status: int, output: _Output, errors: _Output) -> int:
    """Flush the streams and return the command's final exit status."""
    output.flush()
    if output.error is not None and status == 0:
        status = _status_of(output.error)
    errors.flush()
    return status


def _status_of(error: OSError) -> int:
    """Return the exit status of a command that did its work but could not write its output; print why."""
    if error.errno == errno.EPIPE:
        return CLOSED_PIPE
    print(f"error: standard output: cannot write to it: {error.strerror or error}", file=sys.stderr)
    return UNUSABLE

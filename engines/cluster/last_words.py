"""A line for who started a command that Ray ends: where its raylet or its head dies, Ray ends the process at once."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Prints the line where its input ends without a word.
WATCH = "import sys; sys.stdin.buffer.read(1) or print(sys.argv[1], file=sys.stderr, flush=True)"


@contextmanager
def last_words(line: str) -> Iterator[None]:
    """Have a line printed to standard error where this process ends before the block does.

    A process of its own waits for that: Ray's native code asks no handler, and SIGKILL leaves none.
    """
    try:
        stream: int | None = sys.stderr.fileno()
    except (io.UnsupportedOperation, ValueError, OSError):  # it is no file, or closed
        stream = None
    # In a session of its own: Ctrl-C of a terminal is not for it.
    with subprocess.Popen(
        [sys.executable, "-ISc", WATCH, line], stdin=subprocess.PIPE, stderr=stream, start_new_session=True
    ) as watcher:
        try:
            yield
        finally:
            assert watcher.stdin is not None
            with suppress(OSError):  # it was killed
                watcher.stdin.write(b".")
                watcher.stdin.flush()

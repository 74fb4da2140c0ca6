"""Pictures in their order from several reading processes, few at a time."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType

import numpy as np

from mulo_sd.processes import environment
from mulo_sd.reference.train.folder import problems
from mulo_sd.reference.train.folder.options import FolderError
from mulo_sd.reference.train.folder.picture import PictureError, ReadOptions, Square

MODULE = "mulo_sd.reference.train.folder.reader"
SECONDS = 300.0  # for one picture
START_SECONDS = 300.0  # for a process to start
AHEAD = 8  # pictures a process that are asked for and not taken yet


class _EndedError(Exception):
    """A process that ended before it answered."""


@contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill a process where the block takes longer; yield the event that tells of it."""
    is_slow = threading.Event()

    def end() -> None:
        is_slow.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield is_slow
    finally:
        timer.cancel()


class Reader:
    """One process; another takes its place when it ends."""

    def __init__(self, options: ReadOptions, seconds: float = SECONDS) -> None:
        self._options, self._seconds = options, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()

    def _started(self) -> subprocess.Popen[bytes]:
        """Return the process, started if there is none.

        Raises:
            FolderError: it does not start.
            _EndedError: the reader was closed.
        """
        if self._process is None:
            if self._closed.is_set():
                raise _EndedError
            given = self._options.as_line()
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, given],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
            self._process = process
            if self._closed.is_set():  # meanwhile, and saw no process
                self._end()
                raise _EndedError
            assert process.stdout is not None
            with _killed_after(process, START_SECONDS) as is_slow:
                is_ready = process.stdout.readline() == b"ready\n"
            if not is_ready:
                self._end()
                what = f"took more than {START_SECONDS:g} s" if is_slow.is_set() else "ended at once"
                raise FolderError(f"expected a process that decodes pictures to start, got one that {what}")
        return self._process

    def square(self, name: str) -> Square:
        """Return the picture of a file.

        Raises:
            PictureError: there is none in it, or its decoding ended two processes.
            FolderError: no process starts.
        """
        with suppress(_EndedError):  # a system that is short of memory may have ended it
            return self._answer(name)
        try:
            return self._answer(name)
        except _EndedError:
            why = "expected a picture, got a file that ended the process that decoded it"
            raise PictureError(problems.BROKEN, why) from None

    def _answer(self, name: str) -> Square:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with _killed_after(process, self._seconds) as is_slow:
            try:
                process.stdin.write(json.dumps(name).encode() + b"\n")
                process.stdin.flush()
                head = json.loads(process.stdout.readline())
                if "kind" in head:
                    raise PictureError(head["kind"], head["why"])
                side = self._options.side
                pixels = np.frombuffer(process.stdout.read(side * side * 3), np.uint8).reshape(side, side, 3)
                content, conversions = bytes.fromhex(head["hash"]), tuple(head["conversions"])
                return Square(pixels, head["width"], head["height"], content, conversions)
            except PictureError:
                raise
            except (OSError, ValueError):  # a closed pipe, an answer that breaks off
                self._end()
                if is_slow.is_set():
                    why = f"expected a picture, got a file that took more than {self._seconds:g} s"
                    raise PictureError(problems.BROKEN, why) from None
                raise _EndedError from None

    def _end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what was not written yet has no reader any more
                        pipe.close()
            process.wait()

    def close(self) -> None:
        """End the process, and start no other."""
        self._closed.set()
        self._end()


class Readers:
    """Several readers; a context manager that ends them."""

    def __init__(self, options: ReadOptions, count: int = 0, seconds: float = SECONDS) -> None:
        """Start nothing yet.

        Args:
            options: How files are read.
            count: Processes; 0 is one a core, at most 8.
            seconds: For one picture.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._count = count or min(cores, 8)
        self._readers = [Reader(options, seconds) for _ in range(self._count)]
        self._idle: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for reader in self._readers:
            self._idle.put(reader)
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="pictures")

    def __enter__(self) -> "Readers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that waits for an answer gets the end of it.
        self._threads.shutdown(wait=False, cancel_futures=True)
        for reader in self._readers:
            reader.close()
        self._threads.shutdown()

    def _square(self, name: str) -> Square | PictureError:
        reader = self._idle.get()
        try:
            return reader.square(name)
        except PictureError as error:
            return error
        finally:
            self._idle.put(reader)

    def squares(self, names: Iterable[str]) -> Iterator[tuple[str, Square | PictureError]]:
        """Yield each file's picture, or why there is none, in the order of the names.

        Raises:
            FolderError: no process starts.
        """
        waiting: deque[tuple[str, Future[Square | PictureError]]] = deque()
        for name in names:
            waiting.append((name, self._threads.submit(self._square, name)))
            if len(waiting) >= self._count * AHEAD:
                first, square = waiting.popleft()
                yield first, square.result()
        for first, square in waiting:
            yield first, square.result()

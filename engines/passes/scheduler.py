"""One thread that runs decodes, each as a greenlet: straight code that hands over where it waits, and nowhere else.

Threads would hand over through the operating system, twice for every pass of every decode; a switch between
greenlets takes less than a microsecond. What takes long and is no pass runs in a thread beside them.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import greenlet

Answer = TypeVar("Answer")


class Scheduler:
    """Runs decodes in turns.

    `begin` and `close` may be called from any thread, everything else from a decode alone.
    """

    def __init__(self, run_waiting: Callable[[], bool], threads: int, initializer: Callable[[], object]) -> None:
        """Prepare; the thread starts with the first decode.

        Args:
            run_waiting: Called when no decode can go on; lets some go on by `resume`, and returns whether it did.
            threads: Beside the decodes, for what takes long.
            initializer: Called first in each thread.
        """
        self._run_waiting, self._initializer = run_waiting, initializer
        self._beside = ThreadPoolExecutor(threads, thread_name_prefix="mulo-sd-beside", initializer=initializer)
        self._changed = threading.Condition()  # guards the next four
        # What may begin or go on, as other threads say. A greenlet belongs to the thread that makes it.
        self._arrived: deque[Callable[[], None] | greenlet.greenlet] = deque()
        self._begun = 0  # decodes that have not ended
        self._closed = False
        self._thread: threading.Thread | None = None
        self._ready: deque[greenlet.greenlet] = deque()
        self._hub: greenlet.greenlet | None = None

    def begin(self, *decodes: Callable[[], None]) -> None:
        """Let decodes begin, none of them before all are here; they may not raise.

        Raises:
            RuntimeError: it is closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("scheduler: it is closed")
            self._arrived.extend(decodes)
            self._begun += len(decodes)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mulo-sd-decodes", daemon=True)
                self._thread.start()
            self._changed.notify()

    def wait(self) -> None:
        """Hand over until `resume` is called for this decode."""
        assert self._hub is not None
        self._hub.switch()

    def resume(self, decode: greenlet.greenlet) -> None:
        """Let a decode go on that waits; called in the scheduler's thread."""
        self._ready.append(decode)

    def pause(self) -> None:
        """Let all others that can go on do so first."""
        self.resume(greenlet.getcurrent())
        self.wait()

    def beside(self, work: Callable[[], Answer]) -> Answer:
        """Do something long in a thread, while the other decodes go on; return or raise what it does."""
        decode = greenlet.getcurrent()
        future: Future[Answer] = self._beside.submit(work)
        future.add_done_callback(lambda _: self._arrive(decode))
        self.wait()
        return future.result()

    def _arrive(self, decode: greenlet.greenlet) -> None:
        with self._changed:
            self._arrived.append(decode)
            self._changed.notify()

    def _run(self) -> None:
        """Run what can go on, one after the other; when nothing can, what they all wait for."""
        self._initializer()
        self._hub = greenlet.getcurrent()
        while True:
            if self._arrived or not (self._ready or self._run_waiting()):
                with self._changed:
                    self._changed.wait_for(lambda: self._arrived or (self._closed and not self._begun))
                    if not self._arrived:
                        return
                    for item in self._arrived:
                        self._ready.append(item if isinstance(item, greenlet.greenlet) else greenlet.greenlet(item))
                    self._arrived.clear()
            decode = self._ready.popleft()
            try:
                decode.switch()
            except BaseException:  # a decode that raises ends alone, as a thread would
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))
            if decode.dead:
                with self._changed:
                    self._begun -= 1

    def close(self) -> None:
        """Wait for all that has begun, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._beside.shutdown()

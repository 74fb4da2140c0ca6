"""Several images at once: requests join and leave between steps, each with its own mode, settings and seed.

A request's prompt is described first; then it waits for a place, joins the shared passes, is decoded and leaves them
and its place; then its image is made. So nobody waits for another's text model or image decoder, which run in threads
of their own; one thread decodes all (`passes/scheduler.py`).
"""

import heapq
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, NoReturn

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.loop.decode import Progress
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.numbers import positive_seconds, whole_number
from mulo_sd.engines.passes.workers import Workers
from mulo_sd.engines.prompts import Plan
from mulo_sd.engines.service.halves import decoded_of, image_of, prepared_of
from mulo_sd.engines.service.hooks import no_progress, split_options
from mulo_sd.engines.service.request import DeadlineError, Order, Request
from mulo_sd.engines.service.result import Result
from mulo_sd.engines.service.stages import Stages
from mulo_sd.engines.service.waiting import Waiting
from mulo_sd.engines.settings import Mode

__all__ = ["MAX_AT_ONCE", "DeadlineError", "QueueFullError", "Request", "Session"]

MAX_AT_ONCE = 256
MAX_WAITING = 2**20
WAITING_BY_PLACE = 16


def _raise(error: BaseException) -> NoReturn:
    raise error


class QueueFullError(RuntimeError):
    """A session that takes no further request now; its message is one line that says what to do."""


class Session:
    """Draws up to `size` images at once, and queues what comes beyond; safe to use from several threads.

    An image is the one that `Pipeline.generate` draws with the same arguments, but for near-ties that fall otherwise
    where requests share a pass of another shape (CONF-5).

    One thread decodes, or as many as there are workers, and up to 4 x `size` more are made as they are needed: they
    describe prompts, make images, and run graphs that take long. So a front end and a backend's `run` are called from
    several threads at once; the text models of this package let one caller in at a time. Callbacks of a decode are
    called in the thread that decodes: while one of them waits, all of that worker's decodes wait.
    """

    def __init__(self, pipeline: Stages, size: int = 8, queue: int | None = None, workers: int = 1) -> None:
        """Prepare a session; memory for keys and values is taken as requests need it, and kept until `close`.

        Args:
            pipeline: Draws: an `engines.Pipeline`.
            size: Images that are decoded at once, 1..256.
            queue: Requests beyond those that have not ended yet, 0..2^20; None is 16 times the size.
            workers: Threads that decode, 1..256; more than the size are not made. Several help where the host's
                processors make the passes, each of one thread (`load(..., threads=1)`); a GPU's passes one shares.

        Raises:
            SettingsError: the size, the queue or the number of workers is out of its range.
        """
        self._size = whole_number("size", size, 1, MAX_AT_ONCE)
        self._queue = WAITING_BY_PLACE * self._size if queue is None else whole_number("queue", queue, 0, MAX_WAITING)
        self._inside = threading.local()  # `yes` in the session's own threads
        mark = partial(setattr, self._inside, "yes", True)
        count = min(self._size, whole_number("workers", workers, 1, MAX_AT_ONCE))
        self._pipeline, self._workers = pipeline, Workers(pipeline.backend, self._size, count, mark)
        self._changed = threading.Condition()  # guards all that follows
        self._waiting = Waiting(self._size)
        self._places = list(range(self._size))  # a heap: low ones lie side by side in pools, where they share
        self._working = 0  # requests that are decoded, or whose image is made
        self._requests: dict[int, Request] = {}  # that have not ended
        self._submitted = 0
        self._closed = False
        self._process = os.getpid()
        self._threads = ThreadPoolExecutor(3 * self._size, thread_name_prefix="mulo-sd", initializer=mark)
        self._clock: threading.Thread | None = None

    @property
    def passes(self) -> int:
        """Passes made so far; fewer than the requests' own where some were shared."""
        return self._workers.passes

    @property
    def places_in_use(self) -> int:
        """How many images are being decoded just now."""
        with self._changed:
            return self._size - len(self._places)

    def submit(
        self,
        prompt: str | Condition,
        seed: int = 0,
        mode: Mode | None = None,
        deadline: float | None = None,
        progress: Progress = no_progress,
        plan: Plan | None = None,
        draft: Tokens | None = None,
        **options: Any,
    ) -> Request:
        """Ask for an image; the request ends with an error where its prompt or a setting is wrong.

        Args:
            prompt: As for `Pipeline.draw`, like the seed, the mode, the plan, the draft and the options.
            seed: 0..2^64 - 1.
            mode: None takes the bundle's.
            deadline: Seconds from now after which the request ends with `DeadlineError`: at once where it waits, else
                before its next pass, or when its prompt is described or its image made.
            progress: Called with the cells decided and the cells of the image, in a thread of the session.
            plan: Where the objects of the demo go.
            draft: Int[h, w], tokens to take instead of the coarsest drafter's.
            options: As for `Pipeline.draw`.

        Raises:
            QueueFullError: as many requests as the session takes have not ended yet. It never waits for one.
            RuntimeError: the session is closed, or another process opened it: its threads are not in this one.
            SettingsError: the deadline is no positive number of seconds, or a callback cannot be called.
        """
        if os.getpid() != self._process:
            raise RuntimeError("session: another process opened it, before a fork; open one in this process")
        if deadline is not None:
            deadline = positive_seconds("deadline", deadline)
        hooks, changes = split_options(options | {"progress": progress})
        order = Order(prompt, seed, mode, plan, draft, hooks, changes)
        with self._changed:
            if self._closed:
                raise RuntimeError("session: it is closed; open another")
            if len(self._requests) >= self._size + self._queue:
                raise QueueFullError(
                    f"queue: expected fewer requests that have not ended, got {len(self._requests)} ({self._size} at "
                    f"once and {self._queue} that wait); wait for one of them, or open a session with a larger queue"
                )
            request = Request(
                self._submitted,
                order,
                deadline,
                drop=self._drop,
                image_from_tokens=self._pipeline.image_from_tokens,
            )
            self._submitted += 1
            self._requests[request.number] = request
            self._waiting.add(request)
            if deadline is not None and self._clock is None:
                self._clock = threading.Thread(target=self._end_late_ones, name="mulo-sd-deadlines", daemon=True)
                self._clock.start()
            self._go_on()
        return request

    def _go_on(self) -> None:
        """Begin what can begin; the lock is held."""
        while (request := self._waiting.next_to_describe()) is not None:
            request._state = "describing"
            self._threads.submit(self._describe, request)
        # Images that are being made hold no place, but a thread.
        while self._places and self._working < 2 * self._size:
            if (request := self._waiting.next_to_decode()) is None:
                break
            request._state = "decoding"
            self._working += 1
            place = heapq.heappop(self._places)
            self._workers.at(place)[0].begin(partial(self._decode, request, place))
        self._changed.notify_all()

    def _describe(self, request: Request) -> None:
        """Describe a prompt: the first half of a request that comes with one."""
        try:
            request._check()
            prepared = prepared_of(self._pipeline, request)
            request._check()
        except BaseException as error:  # whatever it is, it is the request's alone
            self._end(request, None, error)
            with self._changed:
                self._waiting.forget_described()
                self._go_on()
            return
        with self._changed:
            request._prepared, request._state = prepared, "queued"
            self._waiting.add_described(request)
            self._go_on()
        if request._cancelled.is_set():  # since it was checked
            self._drop(request)

    def _decode(self, request: Request, place: int) -> None:
        """Decode, and leave the place: the second half of a request, among the other decodes."""
        image: Callable[[], Result]
        started = time.perf_counter()
        try:
            prepared, decoded = decoded_of(self._pipeline, *self._workers.at(place), request)
            image = partial(image_of, self._pipeline, request, prepared, decoded, started)
        except BaseException as error:  # whatever it is, it is the request's alone
            image = partial(_raise, error)
        with self._changed:
            heapq.heappush(self._places, place)
            request._state = "finishing"
            self._go_on()
        self._threads.submit(self._finish, request, image)

    def _finish(self, request: Request, image: Callable[[], Result]) -> None:
        """Make the image, or end with the error of the decode."""
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = image()
        except BaseException as caught:  # whatever it is, it is the request's alone
            error = caught
        self._end(request, result, error)
        with self._changed:
            self._working -= 1
            self._go_on()

    def _end(self, request: Request, result: Result | None, error: BaseException | None) -> None:
        """End a request, which is in no queue and no thread any more, and make room for another."""
        with self._changed:
            del self._requests[request.number]
        request._end(result, error)
        with self._changed:
            self._changed.notify_all()

    def _drop(self, request: Request) -> None:
        """End a request that waits and is cancelled or late; one that does not wait finds out itself."""
        with self._changed:
            if not self._waiting.remove(request):
                return
            self._go_on()
        try:
            request._check()
        except (CancelledError, DeadlineError) as error:
            self._end(request, None, error)

    def _end_late_ones(self) -> None:
        """End requests that wait longer than they may, until the session is closed; in a thread of its own."""
        while True:
            with self._changed:
                if self._closed and not self._requests:
                    return
                late = [request for request in self._waiting if request._is_late]
                if not late:
                    ends = [request._ends_at for request in self._waiting if request._ends_at is not None]
                    self._changed.wait(max(0, min(ends) - time.monotonic()) if ends else None)
            for request in late:
                self._drop(request)

    def close(self, cancel: bool = False) -> None:
        """Take no more requests, wait for those that are there, and give everything back.

        Args:
            cancel: End them all instead, those that wait as well. What interrupts the waiting does so, too.

        Raises:
            RuntimeError: a callback of a request calls it, in a thread for which it would wait.
        """
        if getattr(self._inside, "yes", False):
            raise RuntimeError("session: a callback of its own closes it and would wait for itself; close it elsewhere")
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        try:
            if not cancel:
                self._wait_for_all()
        finally:
            with self._changed:
                left = list(self._requests.values())
            for request in left:
                request.cancel()
            self._wait_for_all()
            self._workers.close()
            self._threads.shutdown(wait=True)
            if self._clock is not None and self._clock is not threading.current_thread():
                self._clock.join()

    def _wait_for_all(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._requests)

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)

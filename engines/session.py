"""Several images at once: requests join and leave between steps, each with its own mode, settings and seed."""

import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from engines.condition import Condition
from engines.decode import Decoder
from engines.numbers import positive_seconds, seconds, whole_number
from engines.settings import Mode
from engines.shared_passes import DecodesBackend, SharedPasses

if TYPE_CHECKING:
    from engines.pipeline import Pipeline, Result

MOST_AT_ONCE = 256
_GREY = 128


class DeadlineError(TimeoutError):
    """A request that took longer than it was given."""


class Request:
    """One image of a session, on its way."""

    def __init__(self, pipeline: "Pipeline", deadline: float | None) -> None:
        self._pipeline, self._deadline = pipeline, deadline
        self._asked = time.monotonic()
        self._cancelled = threading.Event()
        self._decoder: Decoder | None = None
        self._future: Future[Result] | None = None

    def result(self, timeout: float | None = None) -> "Result":
        """Return the image, waiting for it.

        Args:
            timeout: Seconds to wait at most; the request goes on after them.

        Raises:
            TimeoutError: it is not there in time; `DeadlineError` where the request's own deadline has passed.
            CancelledError: it was cancelled.
            ValueError: the prompt or a setting is wrong, as `Pipeline.generate` says.
        """
        assert self._future is not None
        return self._future.result(None if timeout is None else seconds("timeout", timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the request ended with where it has no image, waiting for it."""
        assert self._future is not None
        return self._future.exception(None if timeout is None else seconds("timeout", timeout))

    def cancel(self) -> None:
        """End the request before its next pass; the others do not notice."""
        self._cancelled.set()

    @property
    def done(self) -> bool:
        """Whether there is an image, or an error."""
        return self._future is not None and self._future.done()

    @property
    def progress(self) -> tuple[int, int]:
        """The cells decided, and the cells of the image; 0 of 0 where it has not begun."""
        decoder = self._decoder
        return (0, 0) if decoder is None else (decoder.done, len(decoder.states[0].grid))

    def partial_image(self) -> Image.Image | None:
        """Return the image as its tokens stand, proposals included; grey where there are none. None: not begun."""
        decoder = self._decoder
        if decoder is None or not decoder.states:
            return None
        state = decoder.states[0]
        tokens = state.grid.copy().reshape(state.height, state.width)
        missing = tokens < 0
        image = np.array(self._pipeline.image_from_tokens(np.where(missing, 0, tokens)))
        pixels = image.shape[0] // state.height
        image[missing.repeat(pixels, axis=0).repeat(pixels, axis=1)] = _GREY
        return Image.fromarray(image)

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError("the request was cancelled")
        if self._deadline is not None and time.monotonic() - self._asked > self._deadline:
            raise DeadlineError(f"deadline: expected the image within {self._deadline:g} s")


class Session:
    """Draws up to `size` images at once, and queues what comes beyond; safe to use from several threads.

    An image is the one that `Pipeline.generate` draws with the same arguments, but for near-ties that fall otherwise
    where requests share a pass of another shape (CONF-5).
    """

    def __init__(self, pipeline: "Pipeline", size: int = 8) -> None:
        """Prepare a session; memory for keys and values is taken as requests need it, and kept until `close`.

        Raises:
            SettingsError: the size is out of its range.
        """
        size = whole_number("size", size, 1, MOST_AT_ONCE)
        self._pipeline, self._shared = pipeline, SharedPasses(pipeline.backend, size)
        self._free = list(range(size))
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="mulo-sd")
        self._requests: set[Request] = set()

    @property
    def passes(self) -> int:
        """Passes made so far; fewer than the requests' own where some were shared."""
        return self._shared.passes

    def submit(
        self,
        prompt: str | Condition,
        seed: int = 0,
        mode: Mode | None = None,
        deadline: float | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        **given: Any,
    ) -> Request:
        """Ask for an image.

        Args:
            prompt: As for `Pipeline.generate`, like seed, mode and what is given beyond.
            seed: 0..2^64 - 1.
            mode: None takes the bundle's.
            deadline: Seconds from now after which the request ends with `DeadlineError`.
            progress: Called with the cells decided and the cells of the image, in a thread of the session.
            given: Other arguments of `Pipeline.generate`.

        Raises:
            RuntimeError: the session is closed.
            SettingsError: the deadline is no positive number.
        """
        if deadline is not None:
            deadline = positive_seconds("deadline", deadline)
        request = Request(self._pipeline, deadline)
        request._future = self._threads.submit(self._draw, request, prompt, seed, mode, progress, given)
        with self._lock:
            self._requests.add(request)
        request._future.add_done_callback(lambda _: self._forget(request))
        return request

    def _forget(self, request: Request) -> None:
        with self._lock:
            self._requests.discard(request)

    def _draw(
        self,
        request: Request,
        prompt: str | Condition,
        seed: int,
        mode: Mode | None,
        progress: Callable[[int, int], None],
        given: dict[str, Any],
    ) -> "Result":
        request._check()
        with self._lock:
            self._free.sort()  # low places lie side by side, where passes can be shared
            number = self._free.pop(0)
        self._shared.enter()
        try:
            pipeline = copy.copy(self._pipeline)
            pipeline.backend = DecodesBackend(self._shared, number, request._check)

            def watch(decoder: Decoder) -> None:
                request._decoder = decoder

            return pipeline.draw(prompt, seed, mode, progress=progress, watch=watch, **given)
        finally:
            self._shared.leave()
            with self._lock:
                self._free.append(number)

    def close(self, cancel: bool = False) -> None:
        """Wait for all requests, or end them, and give everything back."""
        if cancel:
            with self._lock:
                for request in self._requests:
                    request.cancel()
        self._threads.shutdown(wait=True)
        self._shared.pools.clear()

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)

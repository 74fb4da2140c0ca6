"""A request of a session: what its caller holds while the image is on its way."""

import math
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.numbers import SettingsError, seconds
from mulo_sd.engines.prompts import Plan
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.engines.service.image import partial_image
from mulo_sd.engines.service.result import Prepared, Result
from mulo_sd.engines.settings import Mode

# It waits (to be described, or for a place); its prompt is described; it is decoded; its image is made; it has ended:
# with an image or an error, or because it was cancelled.
State = Literal["queued", "describing", "decoding", "finishing", "done", "cancelled"]
_SHOWN_CHARACTERS = 40


class DeadlineError(TimeoutError):
    """A request that took longer than it was allowed to."""


@dataclass(frozen=True, eq=False)
class Order:
    """The arguments of a request, as `Pipeline.draw` has them.

    Attributes:
        prompt: What to draw.
        seed: Of the image; not checked yet, like all but the hooks.
        mode: None takes the bundle's.
        plan: Where the objects of the demo go.
        draft: Int[h, w], tokens to take instead of the coarsest drafter's.
        hooks: Callbacks of the decode, and what its trace keeps.
        changes: Other settings, by name.
    """

    prompt: str | Condition
    seed: int
    mode: Mode | None
    plan: Plan | None
    draft: Tokens | None
    hooks: Hooks
    changes: Mapping[str, Any]


class Request:
    """One image of a session, on its way; `await` it, or wait in `result`."""

    def __init__(
        self,
        number: int,
        order: Order,
        deadline: float | None,
        *,
        drop: Callable[["Request"], None],
        image_from_tokens: Callable[[Tokens], Image.Image],
    ) -> None:
        """Make a request; `Session.submit` does.

        Args:
            number: Of the session's requests, in the order in which they came.
            order: Its arguments.
            deadline: Seconds from now on; None is no end.
            drop: Ends it at once where it still waits.
            image_from_tokens: Makes an image of tokens, Int[H, W].
        """
        self.number = number
        self._order, self._deadline = order, deadline
        self._drop, self._image_from_tokens = drop, image_from_tokens
        self._asked_at, self._begun_at = time.monotonic(), math.nan
        self._ends_at = None if deadline is None else self._asked_at + deadline
        self._cancelled = threading.Event()
        self._state: State = "queued"
        self._prepared: Prepared | None = None
        self._decoder: Decoder | None = None
        self._last_progress: tuple[int, int] = (0, 0)
        self._last_tokens: Tokens | None = None
        self._future: Future[Result] = Future()
        self._future.set_running_or_notify_cancel()  # only `cancel` ends it early: the session has to know

    def result(self, timeout: float | None = None) -> Result:
        """Return the image, waiting for it.

        Args:
            timeout: Seconds to wait at most; the request goes on after them.

        Raises:
            TimeoutError: it is not there in time; `DeadlineError` where the request's own deadline has passed.
            CancelledError: it was cancelled.
            Exception: as `Pipeline.draw`, whatever the progress callback raised, or `BackendError`.
        """
        return self._future.result(None if timeout is None else seconds("timeout", timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error that the request ended with, or None where it has an image, waiting for its end.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: it has not ended in time.
        """
        return self._future.exception(None if timeout is None else seconds("timeout", timeout))

    def __await__(self) -> Generator[Any, None, Result]:
        """Return the image, or raise as `result` does; from any number of event loops.

        As with asyncio's own futures, a task that is cancelled while it waits cancels the request: who hangs up frees
        a place. `asyncio.shield(request)` lets it go on.
        """
        return self._awaited().__await__()

    async def _awaited(self) -> Result:
        import asyncio  # whoever awaits has loaded it

        try:
            return await asyncio.wrap_future(self._future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def add_done_callback(self, call: Callable[["Request"], object]) -> None:
        """Have a function called with the request when it has ended: in the thread that ends it, or now, here.

        Raises:
            SettingsError: it is no function.
        """
        if not callable(call):
            raise SettingsError(f"call: expected a function, got {call!r:.80}")

        def called(_: "Future[Result]") -> None:
            try:
                call(self)
            except BaseException:  # such as SystemExit: it would end the session's own work on other requests
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

        self._future.add_done_callback(called)

    def cancel(self) -> None:
        """End the request: at once where it waits, else before its next pass or when its prompt is described.

        The others do not notice. A request that has ended stays as it is.
        """
        self._cancelled.set()
        self._drop(self)

    @property
    def done(self) -> bool:
        """Whether it has ended: with an image, an error, or because it was cancelled."""
        return self._future.done()

    @property
    def state(self) -> State:
        """Its stage: "queued", "describing", "decoding", "finishing", and at its end "done" or "cancelled".

        A request that was cancelled too late, when it already had its image or an error, is "done".
        """
        if not self._future.done():
            return self._state
        cancelled = self._cancelled.is_set() and isinstance(self._future.exception(), CancelledError)
        return "cancelled" if cancelled else "done"

    @property
    def progress(self) -> tuple[int, int]:
        """The cells decided, and the cells of the image; 0 of 0 where its decode has not begun."""
        decoder = self._decoder
        return self._last_progress if decoder is None else (decoder.done, len(decoder.states[0].grid))

    @property
    def waited_seconds(self) -> float | None:
        """How long it waited for its prompt to be described and for a place; None where its decode has not begun."""
        waited = self._begun_at - self._asked_at
        return None if math.isnan(waited) else waited

    def partial_image(self) -> Image.Image | None:
        """Return the image as its tokens stand: decided ones and drafts; grey where there are none.

        What a sweep guesses where there is no draft is grey, too: most of it will be another token.

        Returns:
            RGB; None where its decode has not begun.
        """
        decoder = self._decoder
        tokens = self._last_tokens if decoder is None else _tokens_of(decoder)
        return None if tokens is None else partial_image(tokens, self._image_from_tokens)

    def __repr__(self) -> str:
        """Show the prompt, the seed, the stage and the progress."""
        prompt = self._order.prompt
        shown = repr(prompt[:_SHOWN_CHARACTERS]) if isinstance(prompt, str) else "a condition"
        done, total = self.progress
        cells = f", {done} of {total} cells" if total else ""
        return f"<Request {self.number}: {shown}, seed {self._order.seed!r:.20}, {self.state}{cells}>"

    @property
    def _is_late(self) -> bool:
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def _check(self) -> None:
        """Raise where the request was cancelled, or is late."""
        if self._cancelled.is_set():
            raise CancelledError("the request was cancelled")
        if self._is_late:
            raise DeadlineError(f"deadline: expected the image within {self._deadline:g} s")

    @property
    def _hooks(self) -> Hooks:
        """Its order's, of which `watch` lets this request follow, too."""
        return replace(self._order.hooks, watch=self._watch)

    def _watch(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._order.hooks.watch(decoder)

    def _end(self, result: Result | None, error: BaseException | None) -> None:
        """Give the caller the image or the error, and keep nothing that the decode needed."""
        if self._decoder is not None:
            self._last_progress, self._last_tokens = self.progress, _tokens_of(self._decoder)
        self._decoder = self._prepared = None
        if error is None and result is not None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)


def _tokens_of(decoder: Decoder) -> Tokens:
    state = decoder.states[0]
    return np.where(state.guessed, -1, state.grid).reshape(state.height, state.width)

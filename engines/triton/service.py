"""The service inside Triton's stub process: requests are admitted, drawn and answered in an event loop of its own."""

import asyncio
import threading
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mulo_sd.engines.ingress.bounded_store import BoundedStore
from mulo_sd.engines.ingress.deadline import within
from mulo_sd.engines.ingress.drawings import Drawing, Drawings, Outcome
from mulo_sd.engines.ingress.engine import Drawn, Engine, Order
from mulo_sd.engines.ingress.errors import ApiError, ClientGoneError, of_defect, of_engine, too_many_requests
from mulo_sd.engines.ingress.image_request import ImageRequest
from mulo_sd.engines.ingress.limits import Limits
from mulo_sd.engines.ingress.orders import Job, make_job
from mulo_sd.engines.ingress.partial_images import PartialImages
from mulo_sd.engines.ingress.wanted import while_wanted
from mulo_sd.engines.service.steps import Step
from mulo_sd.engines.triton.answers import final_answer, partial_answer
from mulo_sd.engines.triton.call import Call
from mulo_sd.engines.triton.requests import read_request, timeout_of

# How often it is asked whether a request that waits was cancelled; one that is drawn is asked at every step.
POLL_SECONDS = 0.02
CANCELLED = 499
LAST_SECONDS = 5.0


class _NoCounts:
    """Counts nothing: Triton counts requests itself, and images say their passes in STATS."""

    def ordered(self, model: str, outcome: Outcome, count: int) -> None:
        """Count some orders of a model."""

    def drawn(self, model: str, drawn: Drawn) -> None:
        """Count an image."""


class Service:
    """Answers requests with the images of one engine, which it owns; used from any thread."""

    def __init__(self, name: str, engine: Engine, limits: Limits, log: Callable[[str], None]) -> None:
        """Begin to take requests.

        Args:
            name: Of the model.
            engine: Draws; given back in `close`.
            limits: Of requests.
            log: Takes what only the operator may know of an error.
        """
        self.engines, self.limits, self.log = {name: engine}, limits, log
        self.loop = asyncio.new_event_loop()
        finished: BoundedStore[Order, Drawing] = BoundedStore(limits.kept_bytes, limits.kept_seconds)
        self.drawings = Drawings(self.engines, limits.places, limits.queue, finished, _NoCounts())
        self._answers: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, name="mulo-sd-triton", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive()

    def take(self, utils: Any, request: Any) -> None:
        """Begin to answer a request of Triton's Python backend; whatever is wrong with it becomes its answer.

        Args:
            utils: The module `triton_python_backend_utils`.
            request: Its tensors are read now, its responses come later.
        """
        call = Call(utils, request.get_response_sender(), request.request_id() or f"req-{uuid.uuid4().hex[:16]}")
        try:
            read, timeout = read_request(request), timeout_of(request)
            self.loop.call_soon_threadsafe(self._begin, call, read, timeout)
        except ApiError as error:
            call.refuse(error)
        except Exception:  # a defect, which must not end the stub
            self.log(_traceback(call))
            call.refuse(of_defect(call.request_id))

    def _begin(self, call: Call, request: ImageRequest, timeout: float | None) -> None:
        """Answer in a task, while there are not too many of them."""
        if len(self._answers) >= self.limits.open_requests:
            call.refuse(too_many_requests(len(self._answers)))
            return
        task = self.loop.create_task(self._answer(call, request, timeout))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, call: Call, request: ImageRequest, timeout: float | None) -> None:
        """Draw and answer, with an image or with what went wrong."""
        try:
            job = make_job(request, self.engines, self.limits, call.request_id)
            if timeout is not None:
                job = replace(job, deadline=min(job.deadline, timeout))
            async with self.drawings.joined(job.orders) as (drawing,), within(job.deadline):
                work = self._draw(call, job, drawing, request.fields.output_format is not None)
                await while_wanted(_gone(call, drawing), work)
        except ClientGoneError:
            error = ApiError(CANCELLED, "request: expected one that is wanted, got one cancelled", code="cancelled")
        except ApiError as refused:
            error = refused
        except Exception as caught:  # whatever ended the decode
            error = of_engine(caught, call.request_id)
            if error.status >= 500:
                self.log(_traceback(call))
        else:
            return
        await asyncio.to_thread(call.refuse, error)

    async def _draw(self, call: Call, job: Job, drawing: Drawing, as_file: bool) -> None:
        """Send partial images as they come, then the image."""
        partial = PartialImages(job.partial_images)
        if job.partial_images:
            async for steps in drawing.new_steps():
                for step in filter(partial.wants, steps):
                    await asyncio.to_thread(_send_partial, call, job, as_file, step, partial.sent - 1)
        drawn = await drawing.result()
        await asyncio.to_thread(_send_final, call, job, as_file, drawn)

    def close(self) -> None:
        """Refuse what has not been answered, and give everything back; it waits for the pass that runs just then."""
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result()
        for engine in self.engines.values():
            engine.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _stop(self) -> None:
        self.drawings.stop()
        if self._answers:
            await asyncio.wait(self._answers, timeout=LAST_SECONDS)
        await self.loop.shutdown_default_executor()


def _send_partial(call: Call, job: Job, as_file: bool, step: Step, index: int) -> None:
    call.send(partial_answer(job, as_file, step, index), is_last=False)


def _send_final(call: Call, job: Job, as_file: bool, drawn: Drawn) -> None:
    call.send(final_answer(job, as_file, drawn, call.request_id), is_last=True)


async def _gone(call: Call, drawing: Drawing) -> None:
    """Wait until a request was cancelled: asked at every step, and now and then while there is none."""
    while not call.is_cancelled:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await drawing.news.wait()


def _traceback(call: Call) -> str:
    """Return what went wrong just now, for the log: under the request's id, in ASCII, as the stub's streams may be."""
    return ascii(f"request {call.request_id}: {traceback.format_exc()}")

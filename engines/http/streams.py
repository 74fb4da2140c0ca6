"""The answers of POST /v1/images/generations with stream: true: server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

from mulo_sd.engines.http.answers import Asked
from mulo_sd.engines.http.logs import log_failure
from mulo_sd.engines.ingress.deadline import each_within
from mulo_sd.engines.ingress.drawings import Drawing
from mulo_sd.engines.ingress.errors import ApiError, of_engine
from mulo_sd.engines.ingress.formats import base64_text, encoded
from mulo_sd.engines.ingress.partial_images import PartialImages
from mulo_sd.engines.service.image import partial_image
from mulo_sd.engines.service.steps import Step, begins
from mulo_sd.engines.viewer.frames import FrameMaker, chosen_steps

PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
DECODE_STEP = "mulo_sd.decode_step"
MAX_SHOWN = 128


def event(kind: str, content: dict[str, Any]) -> bytes:
    """Return an event as it is sent."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()


def error_event(error: ApiError) -> bytes:
    """Return an error inside a stream: nested, since clients take a flat one for an image."""
    return f"event: error\ndata: {json.dumps(error.body())}\n\n".encode()


def worth_showing(steps: Iterable[Step], last: Step | None) -> list[Step]:
    """Return those of new steps that a viewer sees: where a model begins something else, and the newest."""
    chosen: list[Step] = []
    steps = list(steps)
    for step in steps:
        if begins(chosen[-1] if chosen else last, step) or step is steps[-1]:
            chosen.append(step)
    return chosen


async def events(asked: Asked, drawing: Drawing) -> AsyncGenerator[bytes]:
    """Return the events of a job: partial images and steps as they come, then the image, or an error."""
    try:
        async for sent in each_within(asked.job.deadline, _all_events(asked, drawing)):
            yield sent
    except ApiError as error:
        yield error_event(error)
    except Exception as error:  # of rendering a step: a decoder that answers with what it must not
        log_failure(error, asked.request_id)
        yield error_event(of_engine(error, asked.request_id))


async def _all_events(asked: Asked, drawing: Drawing) -> AsyncGenerator[bytes]:
    async for sent in _steps(asked, drawing):
        yield sent
    drawn = await asked.finished(drawing)
    content = (await asyncio.to_thread(asked.contents, [drawn]))[0]
    body = {"b64_json": base64_text(content), "created_at": int(time.time())}
    yield event(COMPLETED, body | asked.about() | asked.figures([drawn]))


async def _steps(asked: Asked, drawing: Drawing) -> AsyncIterator[bytes]:
    """Return the events of a decode while it runs."""
    job = asked.job
    if not (job.partial_images or job.decode_steps):
        return
    partial, frames = PartialImages(job.partial_images), FrameMaker(job.engine.image_of)
    last: Step | None = None
    async for steps in drawing.new_steps():
        for step in steps:
            if partial.wants(step):
                body = await asyncio.to_thread(_partial_image, asked, step)
                yield event(PARTIAL, body | {"partial_image_index": partial.sent - 1} | asked.about())
        if job.decode_steps:
            # Where the decode has ended there is nothing to keep up with.
            shown = chosen_steps(steps, MAX_SHOWN) if drawing.is_complete else worth_showing(steps, last)
            for step in shown:
                yield event(DECODE_STEP, {"frame": await asyncio.to_thread(frames.frame, step)})
            last = steps[-1]


def _partial_image(asked: Asked, step: Step) -> dict[str, Any]:
    image = partial_image(step.shown, asked.job.engine.image_of)
    content = encoded(image, asked.job.output_format, asked.job.compression)
    return {"b64_json": base64_text(content), "created_at": int(time.time())}

"""The answers of POST /v1/images/generations: one JSON object."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any

from mulo_sd.engines.http.logs import log_failure
from mulo_sd.engines.http.service import Service, StoredImage
from mulo_sd.engines.http.tracing import Span
from mulo_sd.engines.ingress.deadline import within
from mulo_sd.engines.ingress.drawings import Drawing
from mulo_sd.engines.ingress.engine import Drawn
from mulo_sd.engines.ingress.errors import ApiError, of_engine
from mulo_sd.engines.ingress.figures import figures
from mulo_sd.engines.ingress.formats import MEDIA_TYPES, base64_text, encoded
from mulo_sd.engines.ingress.orders import Job

BACKGROUND = "opaque"


class Asked:
    """A job of one client: the service that does it, and what the answer calls it."""

    def __init__(self, service: Service, job: Job, request_id: str, base_url: str, span: Span) -> None:
        """Join them.

        Args:
            service: Does the job.
            job: Held against the model.
            request_id: Of the client's request.
            base_url: What URLs of images begin with.
            span: Of the request.
        """
        self.service, self.job, self.request_id, self.base_url, self.span = service, job, request_id, base_url, span

    async def answer(self) -> dict[str, Any]:
        """Draw all images and return the answer.

        Raises:
            ApiError: whatever went wrong.
        """
        async with self.service.drawings.joined(self.job.orders) as drawings, within(self.job.deadline):
            images = [await self.finished(drawing) for drawing in drawings]
            contents = await asyncio.to_thread(self.contents, images)
            data = [self._place(content) for content in contents]
        return {"created": int(time.time()), "data": data, **self.about(), **self.figures(images)}

    async def finished(self, drawing: Drawing) -> Drawn:
        """Wait for an image.

        Raises:
            ApiError: it could not be drawn.
        """
        try:
            drawn = await drawing.result()
        except ApiError:
            raise
        except Exception as error:  # whatever ended the decode
            answer = of_engine(error, self.request_id)
            if answer.status >= 500:
                log_failure(error, self.request_id)
            raise answer from error
        self.span.image(drawn)
        if self.job.quality is not None:
            self.service.quality_passes.add(self.job.engine.card.name, self.job.quality, drawn)
        return drawn

    def contents(self, images: Sequence[Drawn]) -> list[bytes]:
        """Return the images as files."""
        return [encoded(drawn.image, self.job.output_format, self.job.compression) for drawn in images]

    def _place(self, content: bytes) -> dict[str, str]:
        """Return an image as the answer holds it: itself, or where it lies for a while."""
        if not self.job.by_url:
            return {"b64_json": base64_text(content)}
        name, stored = secrets.token_urlsafe(24), StoredImage(content, MEDIA_TYPES[self.job.output_format])
        if not self.service.images.put(name, stored, len(content)):
            message = (
                f"response_format: expected b64_json for an image of {len(content)} bytes, got url: no room for it"
            )
            raise ApiError(400, message, code="invalid_value", param="response_format")
        return {"url": f"{self.base_url}/v1/images/{name}/content"}

    def about(self) -> dict[str, Any]:
        """Return what the images of the answer are."""
        return {
            "background": BACKGROUND,
            "output_format": self.job.output_format,
            "quality": self.job.quality or "auto",
            "size": self.job.engine.card.size,
        }

    def figures(self, images: Sequence[Drawn]) -> dict[str, Any]:
        """Return the usage in tokens, and what the images took."""
        return figures(self.job, images, self.request_id)

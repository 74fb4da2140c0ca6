"""An engine of a cluster: orders go to engine replicas, and to another one where a replica dies."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from PIL import Image
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.serve.exceptions import RequestCancelledError

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.cluster.messages import Ended, Offer, OtherModelsError, Progress
from mulo_sd.engines.http.logs import log
from mulo_sd.engines.ingress.engine import Drawn, Load, Order
from mulo_sd.engines.ingress.errors import not_ready
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.service.bundle_settings import settings_of
from mulo_sd.engines.service.steps import Step
from mulo_sd.engines.settings import Settings

# The replica is gone, or going: another one draws the same image, since the order says all.
GONE = (RayActorError, NodeDiedError, WorkerCrashedError, ObjectLostError, TaskCancelledError, RequestCancelledError)
# An order that ends so many replicas is the reason itself.
MAX_TRIES = 8
FIRST_WAIT_SECONDS = 0.05
MAX_WAIT_SECONDS = 2.0
IMAGE_SECONDS = 60.0


class RayEngine:
    """Draws one bundle's images in engine replicas."""

    def __init__(self, offer: Offer, replicas: Any) -> None:
        """Take what a replica offers.

        Args:
            offer: Of the bundle.
            replicas: Handle of the engine deployment.
        """
        self.offer, self.card = offer, offer.card
        self._replicas = replicas.options(multiplexed_model_id=offer.card.name)
        self._streams = self._replicas.options(stream=True)
        self._drawn: set[Order] = set()  # those that have a place

    def settings(self, preset: str | None, changes: Mapping[str, object]) -> Settings:
        """Return settings, held against the bundle."""
        return settings_of(self.offer.manifest, preset, changes)

    def check_prompt(self, prompt: str) -> None:
        """Check a prompt, where that needs no text model."""
        if self.offer.check is not None:
            self.offer.check(prompt)

    async def draw(self, order: Order, changed: Callable[[tuple[Step, ...]], None]) -> Drawn:
        """Draw an image in a replica; where that dies, the next one begins anew: the same order is the same image.

        Raises:
            ApiError: 503, where all replicas hold other models meanwhile.
            BackendError: as many replicas as `MAX_TRIES` have died with the order.
            Exception: as `Pipeline.draw`.
        """
        for number in range(1, MAX_TRIES + 1):
            try:
                return await self._draw_once(order, changed)
            except (*GONE, OtherModelsError) as error:
                log("asked again", model=order.model, seed=order.seed, tries=number, reason=type(error).__name__)
                if number == MAX_TRIES and isinstance(error, OtherModelsError):
                    raise not_ready("updating") from None
            finally:
                self._drawn.discard(order)
            await asyncio.sleep(min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**number))
        raise BackendError(f"{order.model}: expected an image, got {MAX_TRIES} replicas that ended while they drew it")

    async def _draw_once(self, order: Order, changed: Callable[[tuple[Step, ...]], None]) -> Drawn:
        steps: dict[int, Step] = {}
        messages = self._streams.draw.remote(order, self.offer.models)
        try:
            async for message in messages:
                if isinstance(message, Progress):
                    self._drawn.add(order)
                    steps |= {step.number: step for step in message.steps}
                    changed(tuple(steps.values()))
                elif isinstance(message, Ended):
                    return replace(message.drawn, steps=tuple(steps[number] for number in message.kept))
        except RayTaskError as error:  # what the decode raised, in Ray's wrapping
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        finally:
            messages.cancel()
        raise BackendError(f"{order.model}: expected an image, got a stream without one")

    def image_of(self, tokens: Tokens) -> Image.Image:
        """Make an image of tokens in a replica."""
        for _ in range(MAX_TRIES):
            try:
                image: Image.Image = self._replicas.image_of.remote(self.card.name, tokens).result(
                    timeout_s=IMAGE_SECONDS
                )
            except GONE:
                continue
            except TimeoutError:
                raise BackendError(
                    f"{self.card.name}: expected a partial image within {IMAGE_SECONDS:g} s, got none"
                ) from None
            return image
        raise BackendError(f"{self.card.name}: expected a partial image, got {MAX_TRIES} replicas that ended")

    def load(self) -> Load:
        """Return how many orders have a place; the replicas know what memory they take."""
        return Load(len(self._drawn), None)

    def close(self) -> None:
        """Do nothing: replicas end with the application."""

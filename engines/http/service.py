"""What all handlers of the service share: its engines, its limits, its state, and what it keeps for a while."""

import asyncio
from contextlib import suppress
from typing import Literal

from fastapi import Request

from mulo_sd.engines.http.access import Access
from mulo_sd.engines.http.bodies import read_body
from mulo_sd.engines.http.metrics import Metrics
from mulo_sd.engines.http.tracing import Tracing
from mulo_sd.engines.ingress.bounded_store import BoundedStore
from mulo_sd.engines.ingress.drawings import Drawing, Drawings
from mulo_sd.engines.ingress.engine import Engine, Load, Order
from mulo_sd.engines.ingress.errors import not_ready, too_many_requests
from mulo_sd.engines.ingress.limits import Limits
from mulo_sd.engines.ingress.qualities import QualityPasses

# For clients to read what refuses them.
LAST_SECONDS = 5.0
State = Literal["loading", "ready", "draining"]


class StoredImage:
    """An image that can be fetched by its URL for a while."""

    def __init__(self, content: bytes, media_type: str) -> None:
        """Keep a file's bytes and their type."""
        self.content, self.media_type = content, media_type


class Service:
    """The state of a service; used in its event loop alone."""

    def __init__(
        self, engines: dict[str, Engine], limits: Limits, access: Access, tracing: Tracing, public_url: str | None
    ) -> None:
        """Begin to load.

        Args:
            engines: By name, the default first; may be filled until the service is ready.
            limits: Of requests.
            access: Who may ask.
            tracing: Told of requests.
            public_url: What URLs of images begin with; None is what the client asked.
        """
        self.engines, self.limits, self.access, self.tracing, self.public_url = (
            engines,
            limits,
            access,
            tracing,
            public_url,
        )
        self.metrics, self.quality_passes = Metrics(), QualityPasses()
        half = limits.kept_bytes // 2
        self.images: BoundedStore[str, StoredImage] = BoundedStore(half, limits.kept_seconds)
        finished: BoundedStore[Order, Drawing] = BoundedStore(half, limits.kept_seconds)
        self.drawings = Drawings(engines, limits.places, limits.queue, finished, self.metrics)
        self.metrics.watch(self._loads)
        self.state: State = "loading"
        self.answering = 0  # requests for images
        self._reading: set[asyncio.Timeout] = set()  # of bodies that are on their way
        self._idle = asyncio.Event()
        self._idle.set()

    def check_ready(self) -> None:
        """Check that images can be asked for.

        Raises:
            ApiError: 503.
        """
        if self.state != "ready":
            raise not_ready(self.state)

    def check_loaded(self) -> None:
        """Check that the models are there, though the service may be shutting down.

        Raises:
            ApiError: 503.
        """
        if self.state == "loading":
            raise not_ready(self.state)

    async def read_body(self, request: Request) -> bytes:
        """Read the body of a request for images.

        Raises:
            ApiError: as `bodies.read_body`; 503, at once, where the service begins to drain meanwhile.
        """
        try:
            async with asyncio.timeout(None) as reading:
                self._reading.add(reading)
                try:
                    return await read_body(request, self.limits)
                finally:
                    self._reading.discard(reading)
        except TimeoutError:
            raise not_ready(self.state) from None

    def begin(self) -> None:
        """Count a request for images.

        Raises:
            ApiError: 503 or 429, where the service takes none, or no more.
        """
        self.check_ready()
        if self.answering >= self.limits.open_requests:
            raise too_many_requests(self.answering)
        self.answering += 1
        self._idle.clear()

    def end(self) -> None:
        """Count one less."""
        self.answering -= 1
        if not self.answering:
            self._idle.set()

    async def drain(self, grace: float) -> None:
        """Take no more requests, and wait for those that are answered; after `grace` seconds they are refused, too."""
        self.state = "draining"
        for reading in list(self._reading):
            reading.reschedule(asyncio.get_running_loop().time())
        if not await self._is_idle_in(grace):
            self.drawings.stop()
            await self._is_idle_in(LAST_SECONDS)

    async def _is_idle_in(self, seconds: float) -> bool:
        """Wait until nothing is answered; return whether that was so in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    async def close(self) -> None:
        """Give everything back; it waits for the pass that runs just then."""
        self.drawings.stop()
        for engine in self.engines.values():
            await asyncio.to_thread(engine.close)

    def _loads(self) -> dict[str, tuple[int, Load]]:
        orders = [order.model for order in list(self.drawings.going)]
        return {name: (orders.count(name), engine.load()) for name, engine in list(self.engines.items())}

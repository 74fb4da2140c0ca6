"""One client's connection: whether it is still there, and a stream of events to it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Response

from mulo_sd.engines.http.gate import Receive, Scope, Send
from mulo_sd.engines.ingress.errors import ClientGoneError
from mulo_sd.engines.ingress.wanted import end_all, while_wanted

Value = TypeVar("Value")
KEEP_ALIVE_SECONDS = 10.0
KEEP_ALIVE = b": keep-alive\n\n"
EVENT_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies would keep events back
)


async def _gone(receive: Receive) -> None:
    """Wait until the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(receive: Receive, work: Coroutine[Any, Any, Value]) -> Value:
    """Do work for a client, and stop where it goes away.

    Raises:
        ClientGoneError: it did.
        Exception: as the work.
    """
    return await while_wanted(_gone(receive), work)


class EventStream(Response):
    """A response of server-sent events; a line now and then while there is none, so that proxies keep it open."""

    def __init__(
        self, events: AsyncGenerator[bytes], send_seconds: float, at_end: Callable[[], Awaitable[None]]
    ) -> None:
        """Prepare.

        Args:
            events: As they are sent.
            send_seconds: In which the client has to take each.
            at_end: Awaited at the end, whatever becomes of the client.
        """
        super().__init__()
        self.events, self.send_seconds, self.at_end = events, send_seconds, at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events."""
        try:
            await while_there(receive, self._send_all(send))
        except ClientGoneError:  # its answer has begun: there is no other to give
            scope["state"]["gone"] = True
        finally:
            await self.events.aclose()
            await self.at_end()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(EVENT_HEADERS)})
        while (part := await self._next_event(send)) is not None:
            await self._send_part(send, part)
        await send({"type": "http.response.body", "body": b""})

    async def _next_event(self, send: Send) -> bytes | None:
        """Wait for the next event, None after the last; meanwhile the client hears that the stream goes on."""
        making = asyncio.ensure_future(self._made())
        try:
            while not (await asyncio.wait([making], timeout=KEEP_ALIVE_SECONDS))[0]:
                await self._send_part(send, KEEP_ALIVE)
        finally:
            await end_all([making])
        return making.result()

    async def _made(self) -> bytes | None:
        return await anext(self.events, None)

    async def _send_part(self, send: Send, part: bytes) -> None:
        try:
            async with asyncio.timeout(self.send_seconds):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError:
            raise ClientGoneError from None

"""A stream of events has an end, whatever the client and the decode do."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from mulo_sd.engines.http import connection
from mulo_sd.engines.http.answers import Asked
from mulo_sd.engines.http.connection import KEEP_ALIVE, EventStream
from mulo_sd.engines.http.metrics import Metrics
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.http.streams import events
from mulo_sd.engines.http.tracing import Span
from mulo_sd.engines.ingress.bounded_store import BoundedStore
from mulo_sd.engines.ingress.drawings import Drawings
from mulo_sd.engines.ingress.orders import Job
from tests.engines.http.toy_engine import ToyEngine, order, step_at


def received(stream: EventStream, seconds: float = 0.0) -> tuple[list[bytes], bool]:
    """Return what a client receives that takes so long for every part, and whether it was given up."""
    parts, scope = list[bytes](), {"state": dict[str, Any]()}

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(seconds)
            parts.append(message["body"])

    asyncio.run(asyncio.wait_for(stream(scope, receive, send), 10))
    return parts, scope["state"].get("gone", False)


class Ends:
    """Counts how often a stream has ended."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


async def made(*waits: float) -> AsyncGenerator[bytes]:
    for number, seconds in enumerate(waits):
        await asyncio.sleep(seconds)
        yield b"%d" % number


async def steps_without_end(deadline: float) -> AsyncGenerator[bytes]:
    """Return the events of a decode that goes on and on."""
    engine = ToyEngine()
    store = BoundedStore(2**20, 60)  # type: ignore[var-annotated]  # as `Drawings` takes it
    drawings = Drawings({"toy": engine}, 1, 1, store, Metrics())
    orders = (order(1),)
    job = Job(engine, orders, None, (), "png", 100, False, True, 0, True, deadline)
    asked = Asked(cast(Service, None), job, "an-id", "", cast(Span, None))  # read where an image is drawn

    async def go_on(drawing: Any) -> None:
        for number in range(1, 10**6):
            drawing._tell(tuple(step_at(n, n % 16) for n in range(max(1, number - 3), number + 1)))
            await asyncio.sleep(0.01)

    async with drawings.joined(orders) as [drawing]:
        task = asyncio.ensure_future(go_on(drawing))
        try:
            async for part in events(asked, drawing):
                yield part
        finally:
            task.cancel()


@pytest.mark.parametrize("slow", [0.0, 0.25])
def test_a_deadline_ends_a_stream_of_any_client(slow: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is slow may be taking an event just then."""
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.1)
    end = Ends()
    parts, gone = received(EventStream(steps_without_end(0.6), 30, end), slow)
    assert parts[0].startswith(b"event: mulo_sd.decode_step\n")
    assert b'"code": "deadline_exceeded"' in parts[-2]
    assert parts[-1] == b""
    assert sum(b"error" in part for part in parts) == 1
    assert not gone
    assert end.count == 1


def test_a_line_now_and_then_while_there_is_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.1)
    parts, gone = received(EventStream(made(0, 0.35), 30, Ends()))
    assert parts == [b"0", *[KEEP_ALIVE] * 3, b"1", b""]
    assert not gone


@pytest.mark.parametrize("waits", [(0, 0), (0, 5)], ids=["event", "keep-alive"])
def test_a_client_that_takes_nothing_is_given_up(waits: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.05)
    end = Ends()
    parts, gone = received(EventStream(made(*waits), 0.1, end), 5)
    assert parts == []
    assert gone
    assert end.count == 1


def test_a_source_that_fails_ends_the_stream() -> None:
    async def failing() -> AsyncGenerator[bytes]:
        yield b"0"
        raise RuntimeError("a defect")

    end = Ends()
    with pytest.raises(RuntimeError, match="a defect"):
        received(EventStream(failing(), 30, end))
    assert end.count == 1

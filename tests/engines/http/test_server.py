"""Connections have bounds: in number, and in the time that a request's head and the reading of an answer may take."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mulo_sd.engines.http import server


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


BODY = bytes(range(256)) * 2**17  # more than the system's buffers take of a connection


async def large(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with more than waits in the system's buffers."""
    length = str(len(BODY)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": BODY})


def served(test: Callable[[int], Awaitable[None]], app: Any = hello) -> None:
    """Run a test with the port of a server that has the service's protocol."""

    async def run() -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        listener = await asyncio.get_running_loop().create_server(
            lambda: server._Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        async with listener:
            await test(listener.sockets[0].getsockname()[1])

    asyncio.run(asyncio.wait_for(run(), 30))


async def read(port: int, *parts: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.05)
    received = await reader.read()
    writer.close()
    return received


HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize("sent", [[], [b"GET /hea"], [HEAD, b"GET /hea"]])
def test_a_head_that_does_not_come(sent: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)

    async def test(port: int) -> None:
        received = await read(port, *sent)
        assert received.count(b"HTTP/1.1 200") == (HEAD in sent)
        assert b"HTTP/1.1 408" in received
        assert b'"code": "request_too_slow"' in received

    served(test)


def test_as_many_connections_as_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)

    async def test(port: int) -> None:
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.05)
        received = await read(port)
        assert b"HTTP/1.1 429" in received
        assert b"retry-after: 2" in received
        for _, writer in open_ones:
            writer.close()
        await asyncio.sleep(0.05)
        assert b"HTTP/1.1 200" in await read(port, HEAD.replace(b"host: a", b"host: a\r\nconnection: close"))

    served(test)


def test_the_process_may_open_what_its_connections_need() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        if before[1] != resource.RLIM_INFINITY and before[1] < server.MAX_CONNECTIONS + server.FREE_DESCRIPTORS:
            pytest.skip("the system allows fewer")
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        server.allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == server.MAX_CONNECTIONS + server.FREE_DESCRIPTORS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_address_in_brackets() -> None:
    try:
        listener = server.listen("::1", 0)
    except OSError:
        pytest.skip("there is no IPv6 here")
    with listener:
        assert listener.family == socket.AF_INET6
        assert server.url_of(listener).startswith("http://[::1]:")


def test_a_client_that_reads_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Its answer is not kept for ever."""
    monkeypatch.setattr(server, "READ_SECONDS", 0.2)

    async def test(port: int) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(HEAD)
        await asyncio.sleep(1)
        connection.settimeout(5)
        received = 0
        with connection, contextlib.suppress(ConnectionResetError):
            while part := connection.recv(2**20):
                received += len(part)
        assert received < len(BODY)

    with caplog.at_level("INFO"):
        served(test, large)
    assert "client reads nothing" in caplog.text


def test_a_client_that_reads_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its answer as long as it takes some of it now and then."""
    monkeypatch.setattr(server, "READ_SECONDS", 0.3)

    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        writer.write(HEAD)
        received = await reader.readuntil(b"\r\n\r\n")
        received = b""
        while len(received) < len(BODY):
            received += await reader.readexactly(min(2**22, len(BODY) - len(received)))
            await asyncio.sleep(0.1)
        assert received == BODY
        writer.close()

    served(test, large)

"""A small client of the service that can do what well-behaved ones do not: hang up in the middle."""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATH = "/v1/images/generations"
SECONDS = 120.0


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: Of HTTP.
        headers: By their names in small letters.
        body: All of it.
        first_seconds: From the request to the first byte of the body.
        seconds: From the request to the last byte.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    first_seconds: float
    seconds: float

    @property
    def content(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.body)
        return content


class Connection:
    """A connection that serves one request after the other."""

    def __init__(self, url: str) -> None:
        """Name the service; the first request connects."""
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: object, path: str = PATH) -> Answer:
        """Send a body, bytes as they are and anything else as JSON, and read the answer."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\n"
        loop = asyncio.get_running_loop()
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port, limit=2**24)
        reader, writer = self.streams
        started = loop.time()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(SECONDS):
            status, headers = await _head(reader)
            received, first = await _body(reader, headers)
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, received, first - started, loop.time() - started)

    def close(self) -> None:
        """Hang up, whatever is on its way."""
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[bytes, float]:
    """Return a body, and when its first bytes came."""
    loop = asyncio.get_running_loop()
    if headers.get("transfer-encoding") != "chunked":
        received = await reader.readexactly(int(headers.get("content-length", 0)))
        return received, loop.time()
    parts, first = [], 0.0
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        first = first or loop.time()
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts), first

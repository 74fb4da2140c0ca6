"""One HTTP request over a socket, as it stands: for what well-behaved clients do not send."""

import json
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SECONDS = 60
GENERATIONS = "/v1/images/generations"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object; it is one, whatever went wrong."""
        content = json.loads(self.body)
        assert set(content) == {"error"}, content
        assert set(content["error"]) == {"message", "type", "param", "code"}
        assert self.headers["content-type"].startswith("application/json")
        message = content["error"]["message"]
        assert message
        assert "\n" not in message
        assert "Traceback" not in message
        error: dict[str, Any] = content["error"]
        return error


def connect(url: str) -> socket.socket:
    """Return a connection to a service."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), SECONDS)


def head(method: str, path: str, **headers: str) -> bytes:
    """Return a request's head; `_` in a header's name is `-`."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_answer(connection: socket.socket) -> Answer:
    """Read to the end of the connection."""
    received = b""
    while part := connection.recv(2**16):
        received += part
    top, _, body = received.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Answer(int(first.split()[1]), headers, body)


def _joined(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        parts.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return b"".join(parts)


def send(url: str, request: bytes) -> Answer:
    """Send bytes and return the answer."""
    with connect(url) as connection:
        connection.sendall(request)
        return read_answer(connection)


def generation(content: object, **headers: str) -> bytes:
    """Return a request for images; text and bytes are sent as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {"content_type": "application/json", "content_length": str(len(body))} | headers
    return head("POST", GENERATIONS, **named) + body


def generate(url: str, content: object, **headers: str) -> Answer:
    """Ask for images."""
    return send(url, generation(content, **headers))


def events(answer: Answer) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a stream: their names and contents."""
    blocks = [block for block in answer.body.decode().split("\n\n") if block and not block.startswith(":")]
    found = []
    for block in blocks:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found

"""What stands before every handler: an id for the request, its key, its line in the log, and an answer to any error."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mulo_sd.engines.http.logs import log, log_failure
from mulo_sd.engines.http.responses import error_response
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.ingress.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT_GONE = 499  # as nginx says it: there is nobody to answer
GENERATIONS = "/v1/images/generations"
PROBES = ("/health", "/ready", "/metrics")  # asked every few seconds: they leave no line in the log
PATHS = (GENERATIONS, "/v1/models", *PROBES, "/openapi.json", "/docs", "/")
IMAGE_PATH = re.compile(r"/v1/images/[^/]+/content")
MODEL_PATH = re.compile(r"/v1/models/[^/]+")
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)


def template(path: str) -> str:
    """Return a path as metrics name it, so that no client makes a name of its own."""
    if path in PATHS:
        return path
    if IMAGE_PATH.fullmatch(path):
        return "/v1/images/{id}/content"
    return "/v1/models/{id}" if MODEL_PATH.fullmatch(path) else "other"


class Gate:
    """An ASGI application around another."""

    def __init__(self, app: Handler, service: Service) -> None:
        """Stand before an application."""
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        own = headers.get("x-request-id", "")
        request_id = own if REQUEST_ID.fullmatch(own) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        started, path, fields = time.perf_counter(), template(scope["path"]), scope["state"]
        metrics = self.service.metrics
        metrics.open_requests.inc()
        try:
            with self.service.tracing.request(f"{scope['method']} {path}", headers) as span:
                fields["span"] = span
                await self._answer(scope, receive, answer, headers)
                span.set("http.response.status_code", answer.status)
        finally:
            seconds = time.perf_counter() - started
            metrics.open_requests.dec()
            metrics.requests.labels(path, str(answer.status)).inc()
            metrics.request_seconds.labels(path).observe(seconds)
            if path not in PROBES:
                log(
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    path=path,
                    status=answer.status,
                    seconds=round(seconds, 4),
                    **fields.get("log", {}),
                )

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer", headers: dict[str, str]) -> None:
        try:
            if scope["path"].startswith("/v1/") and not IMAGE_PATH.fullmatch(scope["path"]):
                self.service.access.check(headers.get("authorization"))
            # As a load balancer's probe may ask; the server sends no body.
            is_probe = scope["method"] == "HEAD" and scope["path"] in (*PROBES, "/")
            await self.app({**scope, "method": "GET"} if is_probe else scope, receive, answer.send)
        except ApiError as error:
            await error_response(error)(scope, receive, answer.send)
        except Exception as error:  # the application has answered it
            log_failure(error, answer.request_id)
        if scope["state"].get("gone"):
            answer.status = CLIENT_GONE


class _Answer:
    """Sends an answer with the request's id, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.request_id = send, request_id
        self.status = CLIENT_GONE

    async def send(self, message: Message) -> None:
        """Send a part."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            mine = (b"x-request-id", self.request_id.encode("ascii"))
            headers = [*message.get("headers", []), mine, (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": headers}
        await self._send(message)

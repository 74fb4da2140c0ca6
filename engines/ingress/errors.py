"""Errors as the API answers them: one object, whatever went wrong, in a body of its own or inside a stream."""

import http
from collections.abc import Mapping
from typing import Any

from mulo_sd.engines.prompts import PlanError, PromptError
from mulo_sd.engines.settings import SettingsError

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
# A client that obeys it does not send a request again that would fail again.
NO_RETRY = {"x-should-retry": "false"}


class ClientGoneError(Exception):
    """The client has closed its connection: there is nobody to answer."""


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        kind: str = INVALID_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make one.

        Args:
            status: Of HTTP.
            message: One line: what was expected, what came, what to do.
            code: For programs.
            param: The field of the request that is at fault.
            kind: The `type` of the error object.
            headers: Of the answer.
        """
        super().__init__(message)
        self.status, self.code, self.param, self.kind = status, code, param, kind
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the error object, as it also stands in a stream."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


def of_status(status: int, headers: Mapping[str, str] | None = None) -> ApiError:
    """Return the error of a status that the framework chose: an unknown path, or a method that it does not have."""
    phrase = http.HTTPStatus(status).phrase.lower()
    message = {
        404: "path: expected one of this service's, got another; /openapi.json lists them",
        405: "method: expected one that this path has, got another; the header Allow lists them",
    }.get(status, phrase)
    kind = INVALID_REQUEST if status < 500 else SERVER_ERROR
    return ApiError(status, message, code=phrase.replace(" ", "_"), kind=kind, headers=headers)


def of_engine(error: BaseException, request_id: str) -> ApiError:
    """Return what a client may know of an error of the engines: its own mistakes; of the server's, that there is one.

    Messages about the server's files name paths; they belong into its log.
    """
    if isinstance(error, PromptError | PlanError):
        return ApiError(400, one_line(error), code="invalid_prompt", param="prompt")
    if isinstance(error, SettingsError):
        name = str(error).partition(":")[0]
        return ApiError(400, one_line(error), code="invalid_value", param=name if name.isidentifier() else None)
    message = f"the engine failed; the server's log says why, under request {request_id}"
    # The same request would fail again: its image is a function of it.
    return ApiError(500, message, code="engine_failed", kind=SERVER_ERROR, headers=NO_RETRY)


def of_defect(request_id: str) -> ApiError:
    """Return the error of a defect of ours: the client learns that there is one, the log which."""
    message = f"the service failed; its log says why, under request {request_id}"
    return ApiError(500, message, code="internal_error", kind=SERVER_ERROR, headers=NO_RETRY)


def one_line(error: BaseException) -> str:
    """Return an error's text in one line."""
    return " ".join(str(error).split())


def deadline_passed(seconds: float) -> ApiError:
    """Return the error of a request that took too long."""
    message = (
        f"deadline: expected the images within {seconds:g} s, got none in time; ask for fewer, or a faster quality"
    )
    return ApiError(504, message, code="deadline_exceeded", kind=SERVER_ERROR, headers=NO_RETRY)


def not_ready(state: str) -> ApiError:
    """Return the error of a service that takes no work now: it loads its bundles, or is shutting down."""
    message = f"service: expected one that is ready, got one that is {state}; try again"
    return ApiError(503, message, code=f"service_{state}", kind=SERVER_ERROR, headers={"retry-after": "2"})


def too_many_requests(count: int) -> ApiError:
    """Return the error of a service that has as many clients as it takes."""
    message = f"service: expected fewer open requests, got {count}; try again in 2 s"
    return ApiError(429, message, code="too_many_requests", kind="rate_limit_error", headers={"retry-after": "2"})


def queue_full(name: str, waiting: int, seconds: int) -> ApiError:
    """Return the error of a model that takes no further request now."""
    message = f"queue: expected room, got none: {name} is drawing, and {waiting} images wait; try again in {seconds} s"
    return ApiError(429, message, code="queue_full", kind="rate_limit_error", headers={"retry-after": str(seconds)})

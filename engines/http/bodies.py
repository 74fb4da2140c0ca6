"""The body of a request, in bounds."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from mulo_sd.engines.ingress.errors import ApiError, ClientGoneError
from mulo_sd.engines.ingress.limits import Limits

# Of a body that is too large: a client that has not sent all may not read the answer.
MAX_DISCARDED_BYTES = 2**23


async def read_body(request: Request, limits: Limits) -> bytes:
    """Read a JSON body.

    Raises:
        ApiError: 415, 413 or 408, where it is no JSON, is too large or comes too slowly.
        ClientGoneError: nobody waits for the answer.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A web page of another site may send other types without asking the browser.
        message = f"content-type: expected application/json, got {kind or 'none'!r:.80}"
        raise ApiError(415, message, code="unsupported_media_type")
    content, received = bytearray(), 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= limits.body_bytes:
                    content += chunk
                elif received > limits.body_bytes + MAX_DISCARDED_BYTES:
                    break
    except TimeoutError:
        message = f"body: expected it within {limits.body_seconds:g} s, got a part of it"
        raise ApiError(408, message, code="body_too_slow", headers={"connection": "close"}) from None
    except ClientDisconnect:
        raise ClientGoneError from None
    if received > limits.body_bytes:
        message = f"body: expected at most {limits.body_bytes} bytes, got more"
        raise ApiError(413, message, code="body_too_large", headers={"connection": "close"})
    return bytes(content)

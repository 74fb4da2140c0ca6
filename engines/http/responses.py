"""An error as an answer of its own."""

from fastapi.responses import JSONResponse

from mulo_sd.engines.ingress.errors import ApiError


def error_response(error: ApiError) -> JSONResponse:
    """Return the answer to a request that ended with an error."""
    return JSONResponse(error.body(), error.status, headers=error.headers)

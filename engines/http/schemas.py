"""What /openapi.json says of the answers; bodies are made elsewhere and held against these by the tests."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mulo_sd.engines.http.request_schema import request_schema


def _version() -> str:
    try:
        return version("mulo-sd")
    except PackageNotFoundError:  # run from a checkout's folder
        return "0"


VERSION = _version()


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(_Body):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(_Body):
    """The answer that is no success."""

    error: ErrorDetail


class ImageData(_Body):
    """An image: itself, or where it lies for a while."""

    b64_json: str | None = None
    url: str | None = None


class TokenDetails(_Body):
    """Tokens by what they are."""

    image_tokens: int
    text_tokens: int


class Usage(_Body):
    """Tokens of the prompt and of the images."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    output_tokens_details: TokenDetails
    total_tokens: int


class ImageFigures(_Body):
    """What an image took."""

    seed: int
    passes: dict[str, int]
    seconds: float
    waited_seconds: float
    tokens_a_pass: float
    acceptance_rate: float


class Figures(_Body):
    """What the images took; `settings` are those that the decode read."""

    request_id: str
    model: str
    bundle: str
    mode: str
    seed: int
    passes: dict[str, int]
    seconds: float
    waited_seconds: float
    images: list[ImageFigures]
    settings: dict[str, Any]
    not_read: list[str]


class Images(_Body):
    """The answer to a request for images."""

    created: int
    data: list[ImageData]
    background: str
    output_format: str
    quality: str
    size: str
    usage: Usage
    mulo_sd: Figures


class QualityCard(_Body):
    """What a quality gives: a promise, and the mean passes of all models together, in this process."""

    promise: str
    passes: float | None
    settings: dict[str, Any]


class ModelFigures(_Body):
    """What a model draws."""

    size: str
    grid: list[int] = Field(min_length=2, max_length=2)
    qualities: dict[str, QualityCard]
    presets: list[str]
    example_prompts: list[str]


class Model(_Body):
    """A bundle that the service draws with."""

    id: str
    object: str
    created: int
    owned_by: str
    mulo_sd: ModelFigures


class Models(_Body):
    """All of them."""

    object: str
    data: list[Model]


class State(_Body):
    """How the service is."""

    status: str
    models: list[str] = []


ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}
EVENT_STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
JSON = "application/json"

GENERATIONS: dict[str, Any] = {
    "response_model": Images,
    "responses": {200: {"description": "The images, or events of a stream", "content": EVENT_STREAM}, **ERRORS},
    "openapi_extra": {"requestBody": {"required": True, "content": {JSON: {"schema": request_schema()}}}},
}
CONTENT: dict[str, Any] = {
    "responses": {
        200: {
            "description": "An image",
            "content": {
                f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "jpeg", "webp")
            },
        },
        **ERRORS,
    },
}
MODELS: dict[str, Any] = {"response_model": Models, "responses": ERRORS}
MODEL: dict[str, Any] = {"response_model": Model, "responses": ERRORS}
HEALTH: dict[str, Any] = {"response_model": State}
READY: dict[str, Any] = {"response_model": State, "responses": {503: {"model": ErrorBody}}}
METRICS: dict[str, Any] = {
    "responses": {200: {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}}
}

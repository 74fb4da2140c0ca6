"""The body of POST /v1/images/generations: OpenAI's fields, ours, and every setting of a decode by its name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulo_sd.engines.files.text_files import strict_json
from mulo_sd.engines.ingress.errors import ApiError, one_line
from mulo_sd.engines.ingress.formats import Format
from mulo_sd.engines.ingress.qualities import NAMES
from mulo_sd.engines.numbers import MAX_SECONDS, MAX_SEED
from mulo_sd.engines.service.named_settings import settings_by_name
from mulo_sd.engines.settings import SETTINGS, SettingsError

MAX_IMAGES = 10
MAX_PARTIAL_IMAGES = 3
MAX_PROMPT_CHARACTERS = 32_000
MAX_USER_CHARACTERS = 512
Text = Annotated[str, Field(max_length=MAX_USER_CHARACTERS)]


class RequestFields(BaseModel):
    """What to draw, as the current clients of OpenAI send it, and fields of ours; settings of a decode come beside."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS, description="What to draw.")]
    model: Annotated[str | None, Field(max_length=200, description="A model of GET /v1/models; null is the first.")] = (
        None
    )
    n: Annotated[int | None, Field(ge=1, le=MAX_IMAGES, description="Images; their seeds count up from `seed`.")] = None
    size: Annotated[str | None, Field(max_length=32, description="The model's own size, such as 128x128, or auto.")] = (
        None
    )
    quality: Annotated[
        Literal[NAMES] | None,  # type: ignore[valid-type]  # the names of a table
        Field(description="fast, balanced or exact, or OpenAI's names for them."),
    ] = None
    response_format: Annotated[
        Literal["b64_json", "url"] | None,
        Field(description="The image itself, or where it can be fetched for a while."),
    ] = None
    output_format: Annotated[Format | None, Field(description="Of the image file.")] = None
    output_compression: Annotated[
        int | None, Field(ge=0, le=100, description="Quality of JPEG and WebP; PNG takes 100 alone.")
    ] = None
    stream: Annotated[bool | None, Field(description="Answer with server-sent events.")] = None
    partial_images: Annotated[
        int | None, Field(ge=0, le=MAX_PARTIAL_IMAGES, description="Of a stream, before the image.")
    ] = None
    background: Annotated[Literal["auto", "opaque"] | None, Field(description="Images have no alpha.")] = None
    moderation: Annotated[Literal["auto", "low"] | None, Field(description="Not read.")] = None
    style: Annotated[Literal["vivid", "natural"] | None, Field(description="Not read.")] = None
    user: Annotated[Text | None, Field(description="Not read.")] = None
    safety_identifier: Annotated[Text | None, Field(description="Not read.")] = None
    seed: Annotated[
        int | None,
        Field(ge=0, le=MAX_SEED, description="Of the noise, 0 by default: the same request, the same image."),
    ] = None
    preset: Annotated[str | None, Field(max_length=64, description="A preset of the bundle, instead of a quality.")] = (
        None
    )
    deadline: Annotated[
        float | None,
        Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False, description="Seconds, at most the service's own."),
    ] = None
    decode_steps: Annotated[
        bool | None, Field(description="Of a stream: events mulo_sd.decode_step, as the page at / shows them.")
    ] = None


class ImageRequest(NamedTuple):
    """A request that was read.

    Attributes:
        fields: Of the API.
        settings: Of the decode, by name, as `Settings` takes them.
    """

    fields: RequestFields
    settings: Mapping[str, Any]


def read_request(body: bytes) -> ImageRequest:
    """Read a request's body.

    Raises:
        ApiError: 400, where it is no JSON, a field has another type or range, or is none that there is.
    """
    try:
        content = strict_json(body.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError and JSON's are such
        raise ApiError(400, f"body: expected JSON: {one_line(error):.200}", code="invalid_json") from None
    if not isinstance(content, dict):
        message = f"body: expected a JSON object, got {type(content).__name__}"
        raise ApiError(400, message, code="invalid_json")
    return read_fields(content)


def read_fields(content: Mapping[str, Any]) -> ImageRequest:
    """Read a request's fields by name.

    Raises:
        ApiError: 400, where a field has another type or range, or is none that there is.
    """
    declared = RequestFields.model_fields
    try:
        fields = RequestFields.model_validate({name: value for name, value in content.items() if name in declared})
    except ValidationError as error:
        raise _refusal(error) from None
    try:
        settings = settings_by_name({name: value for name, value in content.items() if name not in declared})
    except SettingsError as error:
        name = str(error).partition(":")[0].partition(".")[0]  # of drafters.0, say
        code = "invalid_value" if name in SETTINGS else "unknown_parameter"
        raise ApiError(400, one_line(error), code=code, param=name[:80]) from None
    return ImageRequest(fields, settings)


def _refusal(error: ValidationError) -> ApiError:
    """Return what is wrong with a declared field, in one line."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "body"
    if first["type"] == "missing":
        return ApiError(400, f"{name}: expected a value, got none", code="missing_required_parameter", param=name)
    what = first["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    what = what[:1].lower() + what[1:].replace("String should have ", "")
    return ApiError(400, f"{name}: expected {what}, got {first['input']!r:.80}", code="invalid_value", param=name)

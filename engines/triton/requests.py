"""From the tensors of a request to the fields that every ingress reads."""

from collections.abc import Mapping
from typing import Any

from mulo_sd.engines.files.text_files import strict_json
from mulo_sd.engines.ingress.errors import ApiError, one_line
from mulo_sd.engines.ingress.image_request import MAX_PROMPT_CHARACTERS, ImageRequest, RequestFields, read_fields
from mulo_sd.engines.triton.fields import (
    DEADLINE,
    PARTIAL_IMAGES,
    PROMPT,
    SEED,
    SETTINGS,
    SETTINGS_FIELDS,
    Tensor,
)
from mulo_sd.engines.triton.tensors import array_of

MAX_BYTES = {PROMPT.name: 4 * MAX_PROMPT_CHARACTERS, SETTINGS.name: 2**18}
MICROSECONDS = 1e-6


def read_request(request: Any) -> ImageRequest:
    """Read a request of Triton's Python backend.

    Raises:
        ApiError: 400, where a tensor holds what it must not.
    """
    tensors = {tensor.name(): tensor for tensor in request.inputs()}
    content = _settings(tensors)
    if PROMPT.name in tensors:
        content["prompt"] = _text(tensors, PROMPT)
    for field in (SEED, PARTIAL_IMAGES, DEADLINE):
        if field.name in tensors:
            content[field.name.lower()] = _number(tensors, field)
    content["stream"] = bool(content.get("partial_images"))
    return read_fields(content)


def timeout_of(request: Any) -> float | None:
    """Return the seconds that the client gives the request in Triton's own field, None where it gives none."""
    timeout = request.timeout() * MICROSECONDS
    return timeout if timeout > 0 else None


def _number(tensors: Mapping[str, Any], field: Tensor) -> int | float:
    numbers = array_of(tensors[field.name])
    if numbers.size != 1:
        raise _refused(field, "one number", f"{numbers.size}")
    number: int | float = numbers.reshape(()).item()
    return number


def _text(tensors: Mapping[str, Any], field: Tensor) -> str:
    most = MAX_BYTES[field.name]
    numbers = array_of(tensors[field.name])
    if numbers.size > most:
        raise _refused(field, f"at most {most} bytes", str(numbers.size))
    try:
        return numbers.tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(field, "UTF-8", f"another byte at {error.start}") from None


def _settings(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of SETTINGS."""
    if SETTINGS.name not in tensors:
        return {}
    try:
        content = strict_json(_text(tensors, SETTINGS))
    except ValueError as error:
        raise _invalid_json(one_line(error)[:200]) from None
    if not isinstance(content, dict):
        raise _invalid_json(f"got {type(content).__name__}")
    for name in content:
        if name in RequestFields.model_fields and name not in SETTINGS_FIELDS:
            known = ", ".join(SETTINGS_FIELDS)
            message = f"{name}: expected {known} or a setting in SETTINGS, got another field"
            raise ApiError(400, message, code="unknown_parameter", param=name)
    return content


def _invalid_json(why: str) -> ApiError:
    return ApiError(400, f"settings: expected a JSON object: {why}", code="invalid_json", param="settings")


def _refused(field: Tensor, expected: str, got: str) -> ApiError:
    name = field.name.lower()
    return ApiError(400, f"{name}: expected {expected}, got {got}", code="invalid_value", param=name)

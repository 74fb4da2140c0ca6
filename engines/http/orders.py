"""From a request to the orders of its images: what it asks for, held against the model that it names."""

from collections.abc import Mapping
from dataclasses import dataclass

from mulo_sd.engines.http.engine import Engine, Order
from mulo_sd.engines.http.errors import ApiError, of_engine
from mulo_sd.engines.http.formats import FORMATS, Format
from mulo_sd.engines.http.image_request import ImageRequest, RequestFields
from mulo_sd.engines.http.limits import Limits
from mulo_sd.engines.http.qualities import OTHER_NAMES, Quality, quality_settings
from mulo_sd.engines.numbers import MAX_SEED
from mulo_sd.engines.settings import Settings, SettingsError


@dataclass(frozen=True)
class Job:
    """A request that fits: what to draw, and how to answer.

    Attributes:
        engine: Draws it.
        orders: One for each image.
        quality: Whose settings were taken; None where the request names a preset or a mode of its own.
        notes: Settings that the decode does not read.
        output_format: Of the images.
        compression: 0..100.
        by_url: Whether the images are kept for a while, and the answer says where.
        streamed: Whether the answer is a stream of events.
        partial_images: Of a stream.
        decode_steps: Whether a stream shows every step.
        deadline: Seconds.
    """

    engine: Engine
    orders: tuple[Order, ...]
    quality: Quality | None
    notes: tuple[str, ...]
    output_format: Format
    compression: int
    by_url: bool
    streamed: bool
    partial_images: int
    decode_steps: bool
    deadline: float


def make_job(request: ImageRequest, engines: Mapping[str, Engine], limits: Limits, request_id: str) -> Job:
    """Hold a request against the models and the limits.

    Args:
        request: Read, each field for itself.
        engines: By name; the first is the default.
        limits: Of the service.
        request_id: For messages.

    Raises:
        ApiError: 400 or 404, whatever does not fit.
    """
    fields = request.fields
    engine = engine_of(next(iter(engines)) if fields.model is None else fields.model, engines)
    _check_fields(fields, engine, limits)
    quality, settings, unread = _settings(request, engine, request_id)
    try:
        engine.check_prompt(fields.prompt)
    except Exception as error:  # whatever a front end raises is an answer
        raise of_engine(error, request_id) from error
    count = fields.n or 1
    seed = fields.seed or 0
    if seed + count - 1 > MAX_SEED:
        raise _refused("seed", f"at most {MAX_SEED} for the last image", str(seed + count - 1))
    name = engine.card.name
    orders = tuple(Order(name, fields.prompt, seed + number, settings) for number in range(count))
    return Job(
        engine=engine,
        orders=orders,
        quality=quality,
        notes=unread,
        output_format=fields.output_format or FORMATS[0],
        compression=100 if fields.output_compression is None else fields.output_compression,
        by_url=fields.response_format == "url",
        streamed=bool(fields.stream),
        partial_images=fields.partial_images or 0,
        decode_steps=bool(fields.decode_steps),
        deadline=limits.deadline if fields.deadline is None else fields.deadline,
    )


def _refused(param: str, expected: str, got: str) -> ApiError:
    return ApiError(400, f"{param}: expected {expected}, got {got}", code="invalid_value", param=param)


def engine_of(name: str, engines: Mapping[str, Engine]) -> Engine:
    """Return the engine of a model's name.

    Raises:
        ApiError: 404, where there is none.
    """
    if name not in engines:
        message = f"model: expected one of {', '.join(engines)}, got {name!r:.80}"
        raise ApiError(404, message, code="model_not_found", param="model")
    return engines[name]


def _check_fields(fields: RequestFields, engine: Engine, limits: Limits) -> None:
    """Check what the fields mean together, and for this model."""
    size, count = engine.card.size, fields.n or 1
    if fields.size not in (None, "auto", size):
        raise _refused("size", f"{size} or auto, since {engine.card.name} draws no other", repr(fields.size))
    if count > limits.places + limits.queue:
        most = limits.places + limits.queue
        raise _refused("n", f"at most {most}, as many as are drawn and wait at once", str(count))
    if len(fields.prompt) > limits.prompt_characters:
        raise _refused("prompt", f"at most {limits.prompt_characters} characters", str(len(fields.prompt)))
    if (fields.output_format or FORMATS[0]) == "png" and fields.output_compression not in (None, 100):
        expected = "100 or none for PNG, which is lossless"
        raise _refused("output_compression", expected, str(fields.output_compression))
    if fields.response_format == "url" and not (limits.urls and limits.kept_bytes):
        raise _refused("response_format", "b64_json, since this service gives no URLs", "'url'")
    if fields.stream:
        if count > 1:
            raise _refused("n", "1 in a stream", str(count))
        if fields.response_format == "url":
            raise _refused("response_format", "b64_json in a stream", "'url'")
    for name in ("partial_images", "decode_steps"):
        if getattr(fields, name) and not fields.stream:
            raise _refused(name, "stream: true beside it", "none")
    if fields.deadline is not None and fields.deadline > limits.deadline:
        raise _refused("deadline", f"at most {limits.deadline:g} seconds", f"{fields.deadline:g}")


def _settings(
    request: ImageRequest, engine: Engine, request_id: str
) -> tuple[Quality | None, Settings, tuple[str, ...]]:
    """Return the quality, the settings of the decode, and which of the request's it does not read."""
    fields, named = request.fields, request.settings
    if fields.preset is not None and fields.quality is not None:
        raise _refused("preset", "a preset or a quality", "both")
    wanted = quality_settings(fields.quality or "auto", engine.card)
    preset, changes = (wanted.preset, wanted.changes) if fields.preset is None else (fields.preset, {})
    try:
        settings = engine.settings(preset, {**changes, **named})
        unread = settings.unread(named)
        if unread:  # it must not tell two requests apart
            read = {name: value for name, value in named.items() if name not in unread}
            settings = engine.settings(preset, {**changes, **read})
    except SettingsError as error:
        raise of_engine(error, request_id) from None
    chosen = fields.quality or "auto"
    quality = None if fields.preset is not None or named else OTHER_NAMES.get(chosen, chosen)
    return quality, settings, tuple(unread)  # type: ignore[return-value]  # names that are no other service's are ours

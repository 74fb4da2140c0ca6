"""The JSON schema of a request for images, settings included, for /openapi.json."""

from typing import Any

from mulo_sd.engines.ingress.image_request import RequestFields
from mulo_sd.engines.setting_kinds import (
    MAX_COUNT,
    MAX_DRAFTERS,
    Choice,
    Drafters,
    Flag,
    Kind,
    Real,
    Whole,
    Width,
    Window,
)
from mulo_sd.engines.settings import SETTINGS


def request_schema() -> dict[str, Any]:
    """Return the schema of the body of POST /v1/images/generations."""
    schema = RequestFields.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title", None)
    schema["properties"] |= {
        name: {"description": f"{setting.purpose} ({setting.rule})", **kind_schema(setting.kind)}
        for name, setting in SETTINGS.items()
    }
    return schema


def kind_schema(kind: Kind) -> dict[str, Any]:
    """Return the schema of a setting's values; what JSON's schemas cannot say is checked all the same."""
    match kind:
        case Whole():
            return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
        case Real():
            smallest = "exclusiveMinimum" if kind.above else "minimum"
            return {"type": "number", smallest: kind.least, "maximum": kind.most}
        case Window() | Width():
            words = [kind.none] if isinstance(kind, Window) else [kind.none, "auto"]
            number = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT}
            return {"anyOf": [number, {"type": "string", "enum": words}, {"type": "null"}]}
        case Flag():
            return {"type": "boolean"}
        case Choice():
            return {"type": "string", "enum": list(kind.names)}
        case Drafters():
            number = {"type": "integer", "minimum": 1, "maximum": MAX_DRAFTERS}
            numbers = {"type": "array", "items": number, "minItems": 1, "maxItems": MAX_DRAFTERS, "uniqueItems": True}
            return {"anyOf": [number, numbers]}

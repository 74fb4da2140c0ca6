"""GET /v1/models: what each model draws, and what its qualities promise."""

from typing import Any

from mulo_sd.engines.http.service import Service
from mulo_sd.engines.ingress.engine import Engine
from mulo_sd.engines.ingress.qualities import QUALITIES, quality_settings


def model_list(service: Service) -> dict[str, Any]:
    """Return all models as the API lists them."""
    return {"object": "list", "data": [model_object(service, engine) for engine in service.engines.values()]}


def model_object(service: Service, engine: Engine) -> dict[str, Any]:
    """Return a model as the API describes it."""
    card = engine.card
    qualities = {}
    for name in QUALITIES:
        wanted = quality_settings(name, card)
        settings = engine.settings(wanted.preset, wanted.changes)
        reads = settings.decoding.reads_of(settings.drafters)
        qualities[name] = {
            "promise": wanted.promise,
            "passes": service.quality_passes.mean(card.name, name),
            "settings": {key: value for key, value in settings.model_dump().items() if key in reads},
        }
    return {
        "id": card.name,
        "object": "model",
        "created": card.created,
        "owned_by": "mulo-sd",
        "mulo_sd": {
            "size": card.size,
            "grid": [card.rows, card.columns],
            "qualities": qualities,
            "presets": list(card.presets),
            "example_prompts": list(card.example_prompts),
        },
    }

"""What an answer says of its images: tokens, passes, seconds, and the settings that were read."""

from collections.abc import Sequence
from typing import Any

from mulo_sd.engines.ingress.engine import Card, Drawn
from mulo_sd.engines.ingress.orders import Job


def figures(job: Job, images: Sequence[Drawn], request_id: str) -> dict[str, Any]:
    """Return the usage in tokens, and what the images of a job took."""
    orders, settings = job.orders, job.orders[0].settings
    passes: dict[str, int] = {}
    for drawn in images:
        for name, count in drawn.passes.items():
            passes[name] = passes.get(name, 0) + count
    reads = settings.decoding.reads_of(settings.drafters)
    return {
        "usage": usage(job.engine.card, len(images)),
        "mulo_sd": {
            "request_id": request_id,
            "model": job.engine.card.name,
            "bundle": job.engine.card.bundle,
            "mode": settings.mode,
            "seed": orders[0].seed,
            "passes": passes,
            "seconds": sum(drawn.stats.seconds for drawn in images),
            "waited_seconds": max(drawn.waited_seconds for drawn in images),
            "images": [_figures(drawn, order.seed) for drawn, order in zip(images, orders, strict=True)],
            "settings": {name: value for name, value in settings.model_dump().items() if name in reads},
            "not_read": list(job.notes),
        },
    }


def usage(card: Card, images: int) -> dict[str, Any]:
    """Return the tokens of a request: those that its prompt becomes, and those of its images."""
    text, drawn = card.prefix_tokens, card.rows * card.columns * images
    return {
        "input_tokens": text,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": text},
        "output_tokens": drawn,
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
        "total_tokens": text + drawn,
    }


def _figures(drawn: Drawn, seed: int) -> dict[str, Any]:
    stats = drawn.stats
    return {
        "seed": seed,
        "passes": dict(drawn.passes),
        "seconds": stats.seconds,
        "waited_seconds": drawn.waited_seconds,
        "tokens_a_pass": drawn.tokens.size / stats.nfe_target,
        "acceptance_rate": stats.acceptance_rate,
    }

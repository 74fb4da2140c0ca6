"""The qualities of the API as settings of a bundle: how many passes, and what is promised for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mulo_sd.engines.bundle.contract import FEWEST_PASSES_PRESET
from mulo_sd.engines.ingress.engine import Card, Drawn

Quality = Literal["fast", "balanced", "exact"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)
# What clients of other services send.
OTHER_NAMES: Mapping[str, Quality] = {
    "low": "fast",
    "auto": "balanced",
    "medium": "balanced",
    "standard": "balanced",
    "high": "exact",
    "hd": "exact",
    "xhigh": "exact",
    "max": "exact",
}
NAMES = (*QUALITIES, *OTHER_NAMES)


@dataclass(frozen=True)
class QualitySettings:
    """What a quality asks for.

    Attributes:
        preset: Of the bundle; None is its own settings.
        changes: Of those, by name.
        promise: What the image is, in a line.
    """

    preset: str | None
    changes: Mapping[str, Any]
    promise: str


def quality_settings(quality: str, card: Card) -> QualitySettings:
    """Return what a quality, or another service's name for one, asks of a model."""
    name = OTHER_NAMES.get(quality, quality)
    if name == "exact":
        promise = "the image of autoregressive decoding, token for token, by sweeps"
        return QualitySettings(None, {"mode": "ar", "sweep_width": "auto"}, promise)
    if name == "fast" and FEWEST_PASSES_PRESET in card.presets:
        promise = "another image of like quality, in the fewest passes: the bundle's preset passes"
        return QualitySettings(FEWEST_PASSES_PRESET, {}, promise)
    return QualitySettings(None, {}, "another image of like quality: the bundle's own settings")


@dataclass
class QualityPasses:
    """What images of each quality took in this process: the mean passes of all models together."""

    images: dict[tuple[str, Quality], int] = field(default_factory=dict)
    passes: dict[tuple[str, Quality], int] = field(default_factory=dict)

    def add(self, model: str, quality: Quality, drawn: Drawn) -> None:
        """Count an image."""
        key = (model, quality)
        self.images[key] = self.images.get(key, 0) + 1
        self.passes[key] = self.passes.get(key, 0) + sum(drawn.passes.values())

    def mean(self, model: str, quality: Quality) -> float | None:
        """Return the mean, or None where no image was drawn yet."""
        images = self.images.get((model, quality), 0)
        return round(self.passes[model, quality] / images, 1) if images else None

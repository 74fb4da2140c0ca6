"""The reference's side of a comparison: its models, and its decodes, each made once."""

import dataclasses
from typing import Any

from mulo_sd import engines
from mulo_sd.conformance.engines.cases import Case
from mulo_sd.conformance.engines.conditions import condition_of
from mulo_sd.reference.decode import Condition, Decoded, decode
from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import Settings


class ReferenceSide:
    """The reference with the weights of a bundle, in float32, and what it decodes."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.decoded: dict[tuple[str, int, Settings], Decoded] = {}

    def settings(self, pipeline: engines.Pipeline, case: Case) -> Settings:
        """Return the bundle's settings with a case's changes, as the reference's class."""
        changes: dict[str, Any] = case.changes
        return dataclasses.replace(Settings(**pipeline.bundle.manifest.settings.model_dump()), **changes)

    def condition(self, prompt: str, seed: int) -> Condition:
        """Return a prompt's condition; the demo's is planned with the seed of its decode."""
        return condition_of(self.models, prompt, seed)

    def decode(self, prompt: str, seed: int, settings: Settings, record_logits: bool = False) -> Decoded:
        """Decode a prompt, once; again where logits are asked for later."""
        key = (prompt, seed, settings)
        decoded = self.decoded.get(key)
        if decoded is None or (record_logits and decoded.trace.passes[0].logits is None):
            condition = self.condition(prompt, seed)
            decoded = decode(self.models, condition, settings, seed, record_logits=record_logits)
            self.decoded[key] = decoded
        return decoded

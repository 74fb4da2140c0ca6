"""The reference's side of a comparison: its models, and its decodes, each made once."""

import dataclasses

import pytest

import engines
from reference import demo
from reference.decode import Condition, Decoded, decode
from reference.settings import Mode, Settings
from reference.weights import weights_sha256

PROMPTS = (
    "a red circle left of a blue square",
    "three green stars",
    "a triangle",
    "a pink cross and a cyan diamond",
    "a yellow star above a purple circle",
    "two orange squares",
    "a star and a cross",
    "a blue diamond",
    "four cyan circles",
    "a green triangle right of a red star",
    "a cross below a square",
    "a purple square",
    "three diamonds",
    "an orange triangle and a pink circle",
    "a circle",
    "a cyan star left of a cyan cross",
    "two purple triangles",
    "a red diamond and a yellow square",
    "a square above a triangle",
    "a pink star",
)


class ReferenceSide:
    """The shipped models in float32 and what they decode."""

    def __init__(self) -> None:
        self.models = demo.load()
        self.decoded: dict[tuple[str, int, Settings, bool], Decoded] = {}

    def check_weights(self, pipeline: engines.Pipeline) -> None:
        """Fail where the bundle was built from other weights than the reference's."""
        manifest = pipeline.bundle.manifest
        for entry, model in ((manifest.target, self.models.target), (manifest.drafter, self.models.drafter)):
            if entry.weights_sha256 != weights_sha256(model):
                pytest.fail(
                    f"{pipeline.bundle.path}: {entry.graph} was built from other weights than the reference's; "
                    f"build it again with `python -m export.build --precision {manifest.precision} --force`"
                )

    def settings(self, pipeline: engines.Pipeline, mode: Mode) -> Settings:
        """Return the bundle's settings in a mode, as the reference's class."""
        return dataclasses.replace(Settings(**pipeline.bundle.manifest.settings.model_dump()), mode=mode)

    def condition(self, prompt: str, seed: int) -> Condition:
        """Return a prompt's prefix, planned with the seed of its decode."""
        return demo.condition(prompt, seed)

    def decode(self, prompt: str, seed: int, settings: Settings, record_logits: bool = False) -> Decoded:
        """Decode a prompt, once."""
        key = (prompt, seed, settings, record_logits)
        if key not in self.decoded:
            self.decoded[key] = decode(
                self.models, self.condition(prompt, seed), settings, seed, record_logits=record_logits
            )
        return self.decoded[key]

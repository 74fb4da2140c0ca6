"""A variant of the study: a way to decode, its name, and what names its images."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from mulo_sd import engines
from mulo_sd.engines.bundle import Manifest
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.settings import Settings

Chain = tuple[int, ...]
RATIO_2: Chain = (1,)
CHAINS: tuple[Chain, ...] = (RATIO_2, (2,), (1, 2))
ACCEPT_ALL: Mapping[str, Any] = {"tau": 0.0}
# From 8 x 8 tokens straight to 32 x 32, a resize filter cannot tell a shape: docs/up_samplers.md.
FAR_UP: Mapping[Chain, Mapping[str, Any]] = {(1,): {}, (2,): {"up_sampler": "latent"}, (1, 2): {}}


@dataclass(frozen=True)
class Variant:
    """A way to decode.

    Attributes:
        name: Unique in its section.
        section: The table it stands in.
        settings: What differs from the bundle's settings.
        oracle: Whether the real scene's tokens replace those of the coarsest drafter.
        other_seeds: Whether every prompt is drawn with another seed: the noise floor of every comparison.
        unless_by_sweeps: What differs besides where the bundle's own settings resample by windows: those by sweeps have
            a radius and an anchor of their own.
    """

    name: str
    section: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    oracle: bool = False
    other_seeds: bool = False
    unless_by_sweeps: Mapping[str, Any] = field(default_factory=dict)

    def changes(self, own: Settings) -> dict[str, Any]:
        """Return what differs from a bundle's own settings."""
        besides = {} if own.resample_by == "sweeps" else self.unless_by_sweeps
        return {**besides, **self.settings}


def zipar_name(window: int) -> str:
    """Return the name of the ZipAR control with a window."""
    return f"ZipAR, window {window}"


def chain_name(drafters: Chain) -> str:
    """Return a chain of drafters in words: models by number, the target's neighbour first."""
    return f"drafters {','.join(map(str, drafters))}"


def _drafting_alone(draft: str | None, manifest: Manifest) -> tuple[PassesEntry | None, ...]:
    """Return what drafts on the target's own grid, where a mode drafts by it."""
    if draft == "block":
        return (manifest.block,)
    return (manifest.head,) if draft in ("head", "tree", "static-tree") else ()


def identity(item: Variant, pipeline: engines.Pipeline) -> str:
    """Return what names a variant's images: a digest of all that they depend on, and of nothing else.

    A setting that the mode does not read is no part of it, nor is a model that takes no part: another default or a
    drafter trained anew leaves AR's images, the dearest of the study, as they are.

    Raises:
        SettingsError: the bundle does not hold what the variant asks for.
    """
    settings = pipeline.settings(**item.changes(pipeline.settings()))
    manifest = pipeline.bundle.manifest
    fields, reads = settings.model_dump(), settings.decoding.reads_of(settings.drafters)
    read = {name: fields[name] for name in sorted(reads)}
    weights = [manifest.models[number].weights_sha256 for number in settings.model_numbers]
    weights += [entry.weights_sha256 for entry in _drafting_alone(settings.decoding.draft, manifest) if entry]
    if "latent" in (read.get("up_sampler"), read.get("down_sampler")):
        weights += [digest for _, digest in sorted(manifest.latent_sha256.items())]
    content = [read, item.oracle, item.other_seeds, weights, manifest.tokenizer_sha256]
    return sha256(json.dumps([*content, manifest.precision], sort_keys=True).encode()).hexdigest()[:16]

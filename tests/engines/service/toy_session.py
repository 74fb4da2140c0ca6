"""Toy models for sessions, on backends of several kinds; and what lets a test stop a request where it likes."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.conditions import Described
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.prompts import Plan
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.reference.models import Models
from mulo_sd.reference.random_weights import fill, random_condition
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from tests.fakes.torch_backend import TorchBackend as PlainBackend
from tests.fakes.torch_backend import bundle_in_memory

CODES, FIELDS = 32, 3
CONFIG: dict[str, Any] = {
    "condition": "features",
    "condition_width": 6,
    "prefix_length": 4,
    "prefix_vocabulary": 1,
    "layers": 2,
    "heads": 2,
    "dim": 24,
}
REQUESTS: tuple[dict[str, Any], ...] = (
    {"mode": "ar", "seed": 1, "guidance_scale": 2.0},
    {"mode": "parallel", "seed": 2, "guidance_scale": 2.0, "tau": 0.1},
    {"mode": "ar", "seed": 3, "guidance_scale": 1.0},
    {"mode": "serial", "seed": 4, "guidance_scale": 3.0, "draft_rows": 1, "tau": 0.2},
    {"mode": "zipar", "seed": 5, "guidance_scale": 2.0, "window": 2},
    {"mode": "exact", "seed": 6, "guidance_scale": 2.0},
    {"mode": "ar", "seed": 7, "guidance_scale": 2.0, "top_k": 4},
    {"mode": "ar", "seed": 1, "guidance_scale": 2.0, "sweep_width": 5},
    {"mode": "exact", "seed": 8, "guidance_scale": 2.0, "sweep_width": None, "draft_by": "sweeps"},
    {"mode": "parallel", "seed": 9, "guidance_scale": 1.0, "resample_by": "sweeps", "sweeps": 2, "anchor": 2.0},
    {"mode": "serial", "seed": 10, "guidance_scale": 2.0, "draft_rows": 1, "draft_by": "sweeps", "draft_sweeps": 2},
)
# Seconds after which a test has failed; nothing takes as long.
LIMIT = 60


def alone(pipeline: Pipeline, condition: Condition, **given: Any) -> NDArray[np.int64]:
    """Return the tokens that a request draws without a session."""
    return pipeline.draw(condition, **given).tokens


def toy_models() -> Models:
    """Return a target of 4 x 4 cells and a drafter of 2 x 2."""
    with torch.random.fork_rng(devices=[]):
        transformers = [Transformer(TransformerConfig(side, side, CODES, **CONFIG)) for side in (4, 2)]
        tokenizer = Tokenizer(TokenizerConfig(CODES, 4, 8, 1, 1, 2))
    generator = torch.Generator().manual_seed(7)
    for module in (*transformers, tokenizer):
        fill(module, generator, 2.0)
    return Models(transformers[0], (transformers[1],), tokenizer)


def toy_condition(models: Models) -> Condition:
    """Return a condition of theirs."""
    return Condition(random_condition(models.target.config, torch.Generator().manual_seed(3)).cond.numpy())


def toy_pipelines(models: Models, folder: Path) -> dict[str, Pipeline]:
    """Return pipelines over a backend with pools, one that shares passes of few tokens alone, and one without pools."""
    bundle = bundle_in_memory(models, folder, FIELDS, CODES, "tar")
    pooling, plain = TorchBackend(models, torch.float32, "cpu"), PlainBackend(models, FIELDS)
    assert pooling.traits.pools
    assert not plain.traits.pools
    few = TorchBackend(models, torch.float32, "cpu")
    few.traits = replace(few.traits, max_shared_tokens=1)
    backends: dict[str, Backend] = {"pools": pooling, "few": few, "no pools": plain}
    return {name: Pipeline(bundle, backend) for name, backend in backends.items()}


class Gate:
    """Where a thread stops until a test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def stop(self) -> None:
        """Stop here."""
        self.reached.set()
        assert self.opened.wait(LIMIT)

    def progress(self, done: int, total: int) -> None:
        """Stop in a progress callback."""
        self.stop()


class FrontEnd:
    """Makes one condition of every prompt, and stops at the gates of some."""

    example_prompts: tuple[str, ...] = ("anything",)

    def __init__(self, condition: Condition, **gates: Gate) -> None:
        self.condition, self.gates = condition, gates
        self.described: list[str] = []

    def check(self, prompt: str) -> None:
        """Take any prompt."""

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Describe a prompt."""
        self.described.append(prompt)
        if prompt in self.gates:
            self.gates[prompt].stop()
        return Described(self.condition)


class Stopping(Pipeline):
    """A pipeline with such a front end, whose images stop at a gate where there is one.

    Attributes:
        images: Gates by the first image that stops, the second, ...; None is not at all.
    """

    def __init__(self, pipeline: Pipeline, condition: Condition, *images: Gate | None, **gates: Gate) -> None:
        super().__init__(pipeline.bundle, pipeline.backend)
        self.front_end = FrontEnd(condition, **gates)
        self.images = list(images)

    def image_from_tokens(self, tokens: Tokens) -> Image.Image:
        """Make an image."""
        gate = self.images.pop(0) if self.images else None
        if gate is not None:
            gate.stop()
        return super().image_from_tokens(tokens)

"""Tokens to feed: of an image that the engine has drawn, and in their place others that the models find likely.

A bundle's tolerance speaks of passes that a decode makes; on numbers without any sense a trained model in half
precision may be farther off.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines.cases import PROMPTS, SEED
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.bundle.manifest import TransformerEntry

Cells = NDArray[np.int64]


@lru_cache(maxsize=8)
def _drawn(subject: Subject) -> NDArray[np.int64]:
    """Return the target's tokens of an image, by the engine in its fewest passes, Int[H, W]."""
    entry = subject.pipeline.bundle.manifest.target
    if "zipar" in subject.capabilities:
        condition = engine_condition(condition_of(subject.models, PROMPTS[0], SEED))
        scale = 1.5 if "guidance" in subject.capabilities else 1.0
        settings = subject.pipeline.settings(mode="zipar", window=1, guidance_scale=scale, temperature=1.0, top_p=0.95)
        tokens = subject.pipeline.decode(condition, settings, SEED).tokens
        return np.clip(tokens, 0, entry.vocabulary - 1)  # a wrong engine may draw anything
    random = np.random.default_rng(SEED)
    return random.integers(0, entry.vocabulary, (entry.grid_height, entry.grid_width))


@lru_cache(maxsize=32)
def drawn_tokens(subject: Subject, number: int) -> Cells:
    """Return tokens of an image on a model's grid, Int[cells]: the target's drawn, a drafter's made of those."""
    tokens = _drawn(subject)
    if number:
        ratio = subject.models.scale_ratio(0, number)
        with torch.inference_mode():
            tokens = subject.models.down_sample("area", torch.from_numpy(tokens), ratio).numpy()
    return np.ascontiguousarray(tokens).ravel()


class Tokens:
    """What is fed at each cell: first an image's token, then what the model's own logits make likely there."""

    def __init__(self, subject: Subject, number: int, seed: int) -> None:
        self.entry: TransformerEntry = subject.pipeline.bundle.manifest.models[number]
        self.next = drawn_tokens(subject, number).copy()
        self.random = np.random.default_rng(seed)

    def of(self, cells: Cells) -> Cells:
        """Return tokens for cells, Int[n]."""
        return self.next[cells]

    def saw(self, cells: Cells, logits: NDArray[np.float32]) -> None:
        """Take the logits that follow the tokens at cells, Float32[n, V], for what to feed there the next time."""
        noise = self.random.gumbel(size=logits.shape).astype(np.float32)
        chosen = (logits + noise).argmax(axis=1)
        inside = cells + 1 < len(self.next)
        self.next[cells[inside] + 1] = chosen[inside]

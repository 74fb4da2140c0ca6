"""The contexts that MODE-SERIAL makes: tokens that came through the other resolution, mixed into the true ones.

A decode shows the target what U_r makes of low-resolution tokens, and the drafter what D_r makes of
high-resolution ones. Both differ a little from an image's own tokens. A model trained on the latter
alone takes such a context for another kind of image: it rejects good drafts, and resamples badly
beside them. So a part of its training examples see such contexts, and still learn the true tokens.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference.demo.scenes import Scene
from reference.images import images_from_pixels
from reference.scaling import down_sample, up_sample
from reference.tokenizer import Tokenizer

BLOCK = 4  # cells a side that are taken from one source together


@dataclass(frozen=True)
class RescaledContext:
    """How training contexts are mixed.

    Attributes:
        share: Of the examples, how many see a mixed context.
        scale_ratio: Between the two grids.
        is_target: The other resolution is the lower one; for the drafter it is the higher one.
    """

    share: float
    scale_ratio: int
    is_target: bool

    def rescaled_tokens(self, tokenizer: Tokenizer, item: Scene, side: int) -> Tensor:
        """Return the tokens of a scene by way of the other resolution, Int[side, side] (SCALE-1, SCALE-2)."""
        other = side // self.scale_ratio if self.is_target else side * self.scale_ratio
        pixels = torch.from_numpy(item.render(other * tokenizer.config.factor))[None]
        tokens = tokenizer.tokens_from_images(images_from_pixels(pixels))[0]
        return (up_sample if self.is_target else down_sample)(tokenizer, tokens, self.scale_ratio)

    def mixed(self, tokenizer: Tokenizer, item: Scene, tokens: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the context of one example, Int[side, side].

        Args:
            tokenizer: Shared by both resolutions.
            item: The scene.
            tokens: Int[side, side], its own tokens.
            rng: Decides whether the context is mixed, how much of it, and where.
        """
        if rng.random() >= self.share:
            return tokens
        side = len(tokens)
        blocks = -(-side // BLOCK)
        chosen: NDArray[np.bool_] = rng.random((blocks, blocks)) < rng.random()
        mask = torch.from_numpy(np.kron(chosen, np.ones((BLOCK, BLOCK), dtype=np.bool_))[:side, :side])
        return torch.where(mask, self.rescaled_tokens(tokenizer, item, side), tokens)

"""The contexts that a decode makes: tokens that came through another resolution, mixed into the true ones.

A decode shows a model what U_r makes of lower-resolution tokens, and what D_r makes of higher-resolution
ones. Both differ a little from an image's own tokens. A model trained on the latter alone takes such a
context for another kind of image: it rejects good drafts, and resamples badly beside them. So a part of
its training examples see such contexts, and still learn the true tokens.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.reference.scaling import down_sample, up_sample
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.examples import Example, tokens_of

BLOCK = 4  # cells a side that are taken from one source together


@dataclass(frozen=True)
class RescaledContext:
    """How training contexts are mixed.

    Attributes:
        share: Of the examples, how many see a mixed context.
        sides: Of the grids that the contexts come from, in cells; an example draws one of them.
    """

    share: float
    sides: tuple[int, ...]

    def rescaled_tokens(self, tokenizer: ImageTokenizer, item: Example, side: int, other: int) -> Tensor:
        """Return the tokens of a picture by way of a grid of side `other`, Int[side, side] (SCALE-1, SCALE-2)."""
        tokens = tokens_of(tokenizer, [item], other)[0]
        if other < side:
            return up_sample(tokenizer, tokens, side // other)
        return down_sample(tokenizer, tokens, other // side)

    def mixed(self, tokenizer: ImageTokenizer, item: Example, tokens: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the context of one example, Int[side, side].

        Args:
            tokenizer: Shared by all resolutions.
            item: The example.
            tokens: Int[side, side], its own tokens.
            rng: Decides whether the context is mixed, from which resolution, how much of it, and where.
        """
        if not self.sides or rng.random() >= self.share:
            return tokens
        side = len(tokens)
        blocks = -(-side // BLOCK)
        chosen: NDArray[np.bool_] = rng.random((blocks, blocks)) < rng.random()
        mask = torch.from_numpy(np.kron(chosen, np.ones((BLOCK, BLOCK), dtype=np.bool_))[:side, :side])
        other = self.sides[int(rng.integers(len(self.sides)))]
        return torch.where(mask.to(tokens.device), self.rescaled_tokens(tokenizer, item, side, other), tokens)

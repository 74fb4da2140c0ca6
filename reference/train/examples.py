"""Training examples: numbered pictures, what they are asked for by, and which cells of them count more."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.reference.images import images_from_pixels
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import TransformerConfig

TOGETHER = 8  # images that the tokenizer encodes at a time


class Example(Protocol):
    """One picture and its condition."""

    def render(self, size: int) -> NDArray[np.uint8]:
        """Return the picture, UInt8[size, size, 3], RGB."""
        ...

    def condition(self) -> NDArray[np.int64]:
        """Return the prefix that asks for the picture, Int[P, fields]."""
        ...

    def focus(self, side: int) -> NDArray[np.bool_]:
        """Return which cells of a grid the caption speaks of, Bool[side, side]; none where nothing is known of it.

        It may follow from the condition and from where things stand, never from how they look: a weight that depends
        on a cell's token would teach wrong probabilities.
        """
        ...


class Examples(Protocol):
    """Numbered examples in two splits; number `n` of a split is the same in every run."""

    @property
    def prefix_length(self) -> int: ...

    @property
    def prefix_vocabulary(self) -> int:
        """How many ids a condition may hold."""
        ...

    def training(self, index: int) -> Example:
        """Return an example to learn from."""
        ...

    def held_out(self, index: int) -> Example:
        """Return an example to judge by, which no training example equals."""
        ...

    def null_condition(self) -> NDArray[np.int64]:
        """Return the condition that asks for nothing, Int[P, fields]."""
        ...


def images_of(examples: Sequence[Example], size: int) -> Tensor:
    """Return the pictures of examples, Float[n, 3, size, size] in [-1, 1]."""
    return images_from_pixels(torch.from_numpy(np.stack([item.render(size) for item in examples])))


def tokens_of(tokenizer: ImageTokenizer, examples: Sequence[Example], side: int) -> Tensor:
    """Return the tokens of pictures drawn for a grid of `side` rows and columns, Int[n, side, side]."""
    images = images_of(examples, side * tokenizer.config.factor).to(tokenizer.codebook.device)
    return torch.cat([tokenizer.tokens_from_images(part) for part in torch.split(images, TOGETHER)])


def check_codes(tokenizer: ImageTokenizer, config: TransformerConfig) -> None:
    """Check that a transformer's vocabulary is the codes of a tokenizer.

    Raises:
        ValueError: it is not.
    """
    if tokenizer.config.codes != config.vocabulary:
        raise ValueError(
            f"vocabulary: expected the image tokenizer's {tokenizer.config.codes} codes, got a model of "
            f"{config.vocabulary}; train with the tokenizer that the model was made for"
        )


def conditions_of(
    examples: Sequence[Example], null: NDArray[np.int64], dropped: Sequence[bool] | NDArray[np.bool_]
) -> Tensor:
    """Return the prefixes of examples, Int[n, P, fields]: the null prefix where the condition is dropped."""
    return torch.from_numpy(
        np.stack([null if drop else item.condition() for item, drop in zip(examples, dropped, strict=True)])
    )

"""Training examples of models of tokens: scenes, the tokens of their pictures and the prefixes that describe them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.prompts.prefix import null_prefix, prefix_from_plan
from mulo_sd.reference.demo.scenes import Scene
from mulo_sd.reference.images import images_from_pixels
from mulo_sd.reference.tokenizer import Tokenizer

TOGETHER = 8  # images that the tokenizer encodes at a time


def scene_tokens(tokenizer: Tokenizer, scenes: Sequence[Scene], side: int) -> Tensor:
    """Return the tokens of scenes drawn for a grid of `side` rows and columns, Int[scenes, side, side]."""
    pixels = np.stack([item.render(side * tokenizer.config.factor) for item in scenes])
    images = images_from_pixels(torch.from_numpy(pixels))
    return torch.cat([tokenizer.tokens_from_images(part) for part in torch.split(images, TOGETHER)])


def scene_prefixes(scenes: Sequence[Scene], dropped: Sequence[bool] | NDArray[np.bool_]) -> Tensor:
    """Return the prefixes of scenes, Int[scenes, P, fields]: the null prefix where the condition is dropped."""
    return torch.from_numpy(
        np.stack(
            [
                null_prefix() if drop else prefix_from_plan(item.prompt, item.plan)
                for item, drop in zip(scenes, dropped, strict=True)
            ]
        )
    )

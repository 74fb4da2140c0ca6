"""Training contexts: which tokens come through the other resolution, and that the rest are the scene's own."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reference.demo.scenes import scene
from reference.demo.train.context import BLOCK, RescaledContext
from reference.images import images_from_pixels
from reference.scaling import down_sample, up_sample
from reference.tokenizer import Tokenizer

SIDE = 8


def own_tokens(tokenizer: Tokenizer, side: int) -> Tensor:
    pixels = torch.from_numpy(scene(5).render(side * tokenizer.config.factor))[None]
    return tokenizer.tokens_from_images(images_from_pixels(pixels))[0]


@torch.no_grad()
def test_target_sees_what_the_up_sampler_makes_and_the_drafter_what_the_down_sampler_makes(
    tiny_tokenizer: Tokenizer,
) -> None:
    target = RescaledContext(1.0, 2, is_target=True).rescaled_tokens(tiny_tokenizer, scene(5), SIDE)
    assert torch.equal(target, up_sample(tiny_tokenizer, own_tokens(tiny_tokenizer, SIDE // 2), 2))
    drafter = RescaledContext(1.0, 2, is_target=False).rescaled_tokens(tiny_tokenizer, scene(5), SIDE)
    assert torch.equal(drafter, down_sample(tiny_tokenizer, own_tokens(tiny_tokenizer, SIDE * 2), 2))


@torch.no_grad()
@pytest.mark.parametrize("is_target", [True, False])
def test_every_block_comes_from_one_source(is_target: bool, tiny_tokenizer: Tokenizer) -> None:
    context = RescaledContext(1.0, 2, is_target)
    own = own_tokens(tiny_tokenizer, SIDE)
    rescaled = context.rescaled_tokens(tiny_tokenizer, scene(5), SIDE)
    sources = set()
    for seed in range(20):
        mixed = context.mixed(tiny_tokenizer, scene(5), own, np.random.default_rng(seed))
        for row in range(0, SIDE, BLOCK):
            for column in range(0, SIDE, BLOCK):
                block = np.s_[row : row + BLOCK, column : column + BLOCK]
                is_own, is_rescaled = torch.equal(mixed[block], own[block]), torch.equal(mixed[block], rescaled[block])
                assert is_own or is_rescaled
                sources.add((is_own, is_rescaled))
    assert {(True, False), (False, True)} <= sources


@torch.no_grad()
def test_share_of_mixed_examples_and_repeatability(tiny_tokenizer: Tokenizer) -> None:
    own = own_tokens(tiny_tokenizer, SIDE)

    def mixed(share: float, seed: int) -> Tensor:
        return RescaledContext(share, 2, is_target=True).mixed(
            tiny_tokenizer, scene(5), own, np.random.default_rng(seed)
        )

    assert all(torch.equal(mixed(0.0, seed), own) for seed in range(20))
    assert all(torch.equal(mixed(0.7, seed), mixed(0.7, seed)) for seed in range(5))
    changed = sum(not torch.equal(mixed(0.5, seed), own) for seed in range(60))
    assert 10 < changed < 50  # of 60; a chosen share of 0 or a mask of no block changes nothing

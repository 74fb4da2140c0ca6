"""Training contexts: which tokens come through the other resolution, and that the rest are the picture's own."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mulo_sd.reference.demo.examples import DemoExamples
from mulo_sd.reference.scaling import down_sample, up_sample
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.train.context import BLOCK, RescaledContext
from mulo_sd.reference.train.examples import tokens_of

SIDE = 8
EXAMPLE = DemoExamples().training(5)


def own_tokens(tokenizer: Tokenizer, side: int) -> Tensor:
    return tokens_of(tokenizer, [EXAMPLE], side)[0]


@torch.no_grad()
def test_contexts_are_what_the_up_sampler_and_the_down_sampler_make(
    tiny_tokenizer: Tokenizer,
) -> None:
    context = RescaledContext(1.0, (SIDE // 2, SIDE * 2))
    up_sampled = context.rescaled_tokens(tiny_tokenizer, EXAMPLE, SIDE, SIDE // 2)
    assert torch.equal(up_sampled, up_sample(tiny_tokenizer, own_tokens(tiny_tokenizer, SIDE // 2), 2))
    down_sampled = context.rescaled_tokens(tiny_tokenizer, EXAMPLE, SIDE, SIDE * 2)
    assert torch.equal(down_sampled, down_sample(tiny_tokenizer, own_tokens(tiny_tokenizer, SIDE * 2), 2))


@torch.no_grad()
@pytest.mark.parametrize("other", [SIDE // 2, SIDE * 2])
def test_every_block_comes_from_one_source(other: int, tiny_tokenizer: Tokenizer) -> None:
    context = RescaledContext(1.0, (other,))
    own = own_tokens(tiny_tokenizer, SIDE)
    rescaled = context.rescaled_tokens(tiny_tokenizer, EXAMPLE, SIDE, other)
    sources = set()
    for seed in range(20):
        mixed = context.mixed(tiny_tokenizer, EXAMPLE, own, np.random.default_rng(seed))
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
        return RescaledContext(share, (SIDE // 2,)).mixed(tiny_tokenizer, EXAMPLE, own, np.random.default_rng(seed))

    assert all(torch.equal(mixed(0.0, seed), own) for seed in range(20))
    assert all(torch.equal(mixed(0.7, seed), mixed(0.7, seed)) for seed in range(5))
    changed = sum(not torch.equal(mixed(0.5, seed), own) for seed in range(60))
    assert 10 < changed < 50  # of 60; a chosen share of 0 or a mask of no block changes nothing


@torch.no_grad()
def test_without_other_grids_contexts_are_the_pictures_own(tiny_tokenizer: Tokenizer) -> None:
    own = own_tokens(tiny_tokenizer, SIDE)
    assert torch.equal(RescaledContext(1.0, ()).mixed(tiny_tokenizer, EXAMPLE, own, np.random.default_rng(0)), own)

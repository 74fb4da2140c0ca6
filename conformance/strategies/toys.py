"""Toy models: random transformers and a random tokenizer of a few codes, small enough to decode in milliseconds."""

import functools
from typing import NamedTuple

import hypothesis.strategies as st
import torch

from mulo_sd.reference.block import block_config
from mulo_sd.reference.decode import Condition, Models
from mulo_sd.reference.head import Head, HeadConfig, with_shared
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig

CODES = 11
PREFIX_VOCABULARY = 6


class Toy(NamedTuple):
    """What the toy models are made from; `build` turns it into weights.

    `height` and `width` are the grid of the target's drafter, and `coarse_ratio` times that of a drafter for the
    drafter; 0 is no such model. `sharpness` is about the standard deviation of the logits.
    """

    height: int
    width: int
    scale_ratio: int
    prefix_length: int
    layers: int
    sharpness: float
    weights_seed: int
    coarse_ratio: int = 0

    @property
    def target_height(self) -> int:
        return self.height * self.scale_ratio

    @property
    def target_width(self) -> int:
        return self.width * self.scale_ratio

    @property
    def target_cells(self) -> int:
        return self.target_height * self.target_width

    def grid(self, model: int) -> tuple[int, int]:
        """Return a model's rows and columns."""
        if model == 2:
            return self.height // self.coarse_ratio, self.width // self.coarse_ratio
        return (self.height, self.width) if model else (self.target_height, self.target_width)

    def transformer_config(self, model: int) -> TransformerConfig:
        """Return the configuration of the target (0), its drafter (1) or the drafter's (2)."""
        height, width = self.grid(model)
        return TransformerConfig(
            grid_height=height,
            grid_width=width,
            vocabulary=CODES,
            layers=self.layers,
            heads=2,
            dim=16,
            prefix_length=self.prefix_length,
            prefix_vocabulary=PREFIX_VOCABULARY,
        )


class World(NamedTuple):
    """The models of a decode and the condition to decode under."""

    models: Models
    condition: Condition

    def transformer(self, model: int) -> Transformer:
        """Return the target (0) or a drafter."""
        return self.models.transformer(model)


@st.composite
def toys(draw: st.DrawFn, max_cells: int = 48) -> Toy:
    """Toys whose target has at most `max_cells` cells, two or more in a row; grids need not be square.

    (A window of nothing but cell 0 would be verified by the prefill: no pass, and nothing to learn.) Where the
    drafter's grid can be halved, and still has two columns, half of the toys have a third model.
    """
    shapes = [
        (height, width, ratio)
        for ratio in (2, 3, 1)
        for height in (2, 3, 1, 4)
        for width in (2, 3, 1, 4)
        if width * ratio > 1 and height * width * ratio**2 <= max_cells
    ]
    height, width, ratio = draw(st.sampled_from(shapes))
    halved = height % 2 == 0 and width % 2 == 0
    return Toy(
        height=height,
        width=width,
        scale_ratio=ratio,
        prefix_length=draw(st.integers(1, 3)),
        layers=draw(st.integers(1, 2)),
        sharpness=draw(st.sampled_from((1.5, 3.0, 0.5))),
        weights_seed=draw(st.integers(0, 2**32 - 1)),
        coarse_ratio=draw(st.sampled_from((2, 0))) if halved else 0,
    )


@functools.lru_cache(maxsize=32)
def build(toy: Toy) -> World:
    """Make the models in float64, from the toy's own generator and no other."""
    generator = torch.Generator().manual_seed(toy.weights_seed)
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which `fill` overwrites
        target = Transformer(toy.transformer_config(0)).double()
        drafter = Transformer(toy.transformer_config(1)).double()
        tokenizer = Tokenizer(
            TokenizerConfig(codes=CODES, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, factor=2)
        ).double()
        coarse = [Transformer(toy.transformer_config(2)).double()] if toy.coarse_ratio else []
    for module in (target, drafter, tokenizer, *coarse):
        fill(module, generator, toy.sharpness)
    fields = (toy.prefix_length, 2)
    cond = torch.randint(0, PREFIX_VOCABULARY, fields, generator=generator)
    uncond = torch.randint(0, PREFIX_VOCABULARY, fields, generator=generator)
    head, block = head_and_block(target, generator, toy.sharpness)
    return World(Models(target, (drafter, *coarse), tokenizer, head=head, block=block), Condition(cond, uncond))


def head_and_block(target: Transformer, generator: torch.Generator, sharpness: float) -> tuple[Head, Transformer]:
    """Make a head and a block drafter of a target with random weights; some of what they draft is accepted."""
    with torch.random.fork_rng(devices=[]):
        head = Head(HeadConfig.of(target.config)).double()
        block = Transformer(block_config(target.config)).double()
    for module in (head, block):
        fill(module, generator, sharpness)
    head.load_state_dict(with_shared({}, target), strict=False)
    return head, block

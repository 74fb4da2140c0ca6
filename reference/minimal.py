"""The minimal presets: the demo in everything but numbers, with random weights.

`minimal` decodes in milliseconds: a cache, a mask or a schedule that is wrong for every shape shows on 64 cells as it
does on 1,024. What is wrong for some shapes alone shows on its siblings: `minimal-oblong` has grids that are no
squares, `minimal-large` long passes, caches of many blocks, a large vocabulary and wide heads. What the images look
like says nothing.
"""

import functools
from dataclasses import dataclass, replace

import torch

from mulo_sd.reference.block import block_config
from mulo_sd.reference.head import Head, HeadConfig, with_shared
from mulo_sd.reference.latent import LatentDownSampler, LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.models import Models
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class Size:
    """How large the models of a preset are.

    Attributes:
        grids: Rows and columns of the target, and of its drafters.
        codes: Size of the vocabulary.
        heads: Of each transformer.
        dim: Of each transformer; a head has dim / heads numbers.
        code_dim: Of the codebook.
        latent_ratios: Scale ratios that have latent samplers.
    """

    grids: tuple[tuple[int, int], ...]
    codes: int = 48
    heads: int = 2
    dim: int = 32
    code_dim: int = 4
    latent_ratios: tuple[int, ...] = ()


SIZES = {
    "minimal": Size(((8, 8), (4, 4), (2, 2)), latent_ratios=(2, 4)),
    # Rows and columns that are swapped find another cell, or none.
    "minimal-oblong": Size(((4, 12), (2, 6))),
    # A tall grid of more cells than three steps of a cache, more than 1,024 codes, heads wider than 64.
    "minimal-large": Size(((24, 16), (12, 8)), codes=1160, dim=160, code_dim=8),
}
WEIGHTS_SEED = 20260112
# About the standard deviation of the logits: a sample is neither certain nor a toss-up.
SHARPNESS = 2.0
# Of what a head adds to the target's features, so that some of its drafts are accepted and some are not.
HEAD_SCALE = 0.3
# Of the block drafter: with the target's own its drafts are related to what the target predicts.
BLOCK_FROM_TARGET = ("cls_embedding.weight", "tok_embeddings.weight", "abs_pe", "output.weight")
# As small as trained ones, so that half precision rounds them as it rounds those.
EMBEDDING_SCALE = 0.2
SETTINGS = Settings(
    mode="parallel",
    guidance_scale=1.2,
    top_p=0.95,
    drafters=(1, 2),
    tau=0.2,
    radius=1,
    anchor=4.0,
    neighbours=8,
    draft_rows=1,
    draft_window=2,
    island_window=2,
)


# Of the siblings, which have one drafter.
SIBLING_SETTINGS = replace(SETTINGS, drafters=(1,))


def load() -> Models:
    """Make the minimal preset's models in float32: the same weights in every process."""
    return load_size("minimal")


def load_oblong() -> Models:
    """Make the models of `minimal-oblong`."""
    return load_size("minimal-oblong")


def load_large() -> Models:
    """Make the models of `minimal-large`."""
    return load_size("minimal-large")


@functools.cache
def load_size(name: str) -> Models:
    """Make a preset's models in float32: the same weights in every process.

    Args:
        name: One of SIZES.
    """
    size = SIZES[name]
    generator = torch.Generator().manual_seed(WEIGHTS_SEED)
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which `fill` overwrites
        transformers = [
            Transformer(
                TransformerConfig(height, width, vocabulary=size.codes, layers=2, heads=size.heads, dim=size.dim)
            )
            for height, width in size.grids
        ]
        tokenizer = Tokenizer(
            TokenizerConfig(
                codes=size.codes, code_dim=size.code_dim, width=8, encoder_blocks=1, decoder_blocks=1, factor=2
            )
        )
        for module in (*transformers, tokenizer):
            fill(module, generator, SHARPNESS)
        for model in transformers:
            for parameter in ("cls_embedding.weight", "tok_embeddings.weight", "abs_pe"):
                model.get_parameter(parameter).mul_(EMBEDDING_SCALE)
        up_samplers = {ratio: LatentUpSampler(_latent(ratio, 2), tokenizer.codebook) for ratio in size.latent_ratios}
        down_samplers = {
            ratio: LatentDownSampler(_latent(ratio, 1), tokenizer.codebook) for ratio in size.latent_ratios
        }
        for sampler in (*up_samplers.values(), *down_samplers.values()):
            codebook = sampler.codebook.clone()
            fill(sampler, generator, SHARPNESS)
            sampler.codebook.copy_(codebook)
        head, block = _head_and_block(transformers[0], generator)
    return Models(transformers[0], tuple(transformers[1:]), tokenizer, up_samplers, down_samplers, head, block)


def _head_and_block(target: Transformer, generator: torch.Generator) -> tuple[Head, Transformer]:
    """Make a head that hands on the target's features, a little changed, and a block drafter like the target."""
    head, block = Head(HeadConfig.of(target.config)), Transformer(block_config(target.config))
    for module in (head, block):
        fill(module, generator, SHARPNESS)
    for name in ("fc.weight", "layer.attention.wo.weight", "layer.feed_forward.w2.weight"):
        head.get_parameter(name).mul_(HEAD_SCALE)
    head.fc.weight[:, target.config.dim :] += torch.eye(target.config.dim)
    head.load_state_dict(with_shared({}, target), strict=False)
    for name in BLOCK_FROM_TARGET:
        theirs = target.get_parameter(name)
        block.get_parameter(name)[: len(theirs)] = theirs
    return head, block


def _latent(scale_ratio: int, rows_above: int) -> LatentScalerConfig:
    size = SIZES["minimal"]
    return LatentScalerConfig(
        scale_ratio,
        size.codes,
        size.code_dim,
        width=8,
        coarse_blocks=1,
        fine_blocks=1,
        fine_width=8,
        rows_above=rows_above,
    )

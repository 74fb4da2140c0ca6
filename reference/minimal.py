"""The minimal preset: the demo in everything but numbers, with random weights and a decode in milliseconds.

A cache, a mask or a schedule that is wrong shows on 64 cells as it does on 1,024. What the images look like says
nothing.
"""

import functools

import torch

from reference.latent import LatentDownSampler, LatentScalerConfig, LatentUpSampler
from reference.models import Models
from reference.random_weights import fill
from reference.settings import Settings
from reference.tokenizer import Tokenizer, TokenizerConfig
from reference.transformer import Transformer, TransformerConfig

GRIDS = (8, 4, 2)  # rows and columns of the target, and of its two drafters
CODES = 48
LATENT_RATIOS = (2, 4)
WEIGHTS_SEED = 20260112
# About the standard deviation of the logits: a sample is neither certain nor a toss-up.
SHARPNESS = 2.0
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
    exact_window=8,
)


@functools.cache
def load() -> Models:
    """Make the preset's models in float32: the same weights in every process."""
    generator = torch.Generator().manual_seed(WEIGHTS_SEED)
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which `fill` overwrites
        transformers = [
            Transformer(TransformerConfig(side, side, vocabulary=CODES, layers=2, heads=2, dim=32)) for side in GRIDS
        ]
        tokenizer = Tokenizer(
            TokenizerConfig(codes=CODES, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, factor=2)
        )
        for module in (*transformers, tokenizer):
            fill(module, generator, SHARPNESS)
        for model in transformers:
            for name in ("cls_embedding.weight", "tok_embeddings.weight", "abs_pe"):
                model.get_parameter(name).mul_(EMBEDDING_SCALE)
        up_samplers = {ratio: LatentUpSampler(_latent(ratio, 2), tokenizer.codebook) for ratio in LATENT_RATIOS}
        down_samplers = {ratio: LatentDownSampler(_latent(ratio, 1), tokenizer.codebook) for ratio in LATENT_RATIOS}
        for sampler in (*up_samplers.values(), *down_samplers.values()):
            codebook = sampler.codebook.clone()
            fill(sampler, generator, SHARPNESS)
            sampler.codebook.copy_(codebook)
    return Models(transformers[0], tuple(transformers[1:]), tokenizer, up_samplers, down_samplers)


def _latent(scale_ratio: int, rows_above: int) -> LatentScalerConfig:
    return LatentScalerConfig(
        scale_ratio, CODES, 4, width=8, coarse_blocks=1, fine_blocks=1, fine_width=8, rows_above=rows_above
    )

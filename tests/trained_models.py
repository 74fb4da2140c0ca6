"""A folder of trained models as a training leaves it, with random weights: small, and the same in every process."""

from functools import cache

import torch

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.latent import LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.models import Models
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.trained import Trained
from mulo_sd.reference.trained.caption_tokenizer import train_caption_tokenizer
from mulo_sd.reference.transformer import Transformer, TransformerConfig

CAPTIONS = ("a red fox in the snow", "two keys on a table", "a key left of a fox", "snow")
PREFIX_LENGTH, IDS, CODES, CODE_DIM = 6, 280, 24, 4
GRIDS = ((4, 4), (2, 2))
SETTINGS = Settings(mode="parallel", guidance_scale=1.5, drafters=(1,), tau=0.2, radius=1, neighbours=4)


def transformer(
    grid: tuple[int, int] = GRIDS[0],
    prefix_length: int = PREFIX_LENGTH,
    codes: int = CODES,
    ids: int = IDS,
    seed: int = 1,
) -> Transformer:
    """Return a transformer of captioned pictures with random weights."""
    config = TransformerConfig(
        *grid, vocabulary=codes, layers=1, heads=2, dim=32, prefix_length=prefix_length, prefix_vocabulary=ids
    )
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which `fill` overwrites
        model = Transformer(config)
    fill(model, torch.Generator().manual_seed(seed), 2.0)
    return model


def up_sampler(codebook: torch.Tensor, ratio: int = 2) -> LatentUpSampler:
    """Return a latent up-sampler of a tokenizer's codes with random weights."""
    codes, code_dim = codebook.shape
    config = LatentScalerConfig(ratio, codes, code_dim, width=8, coarse_blocks=1, fine_blocks=1, fine_width=8)
    with torch.random.fork_rng(devices=[]):
        made = LatentUpSampler(config, codebook)
    own = made.codebook.clone()
    fill(made, torch.Generator().manual_seed(3), 2.0)
    made.codebook.copy_(own)
    return made


@cache
def captions() -> CaptionIds:
    """Return a tokenizer of the captions above."""
    return CaptionIds(train_caption_tokenizer(CAPTIONS, IDS), PREFIX_LENGTH)


@cache
def trained() -> Trained:
    """Return the models; nobody changes them."""
    sizes = TokenizerConfig(CODES, CODE_DIM, width=8, encoder_blocks=1, decoder_blocks=1, factor=2)
    with torch.random.fork_rng(devices=[]):
        tokenizer = Tokenizer(sizes)
    fill(tokenizer, torch.Generator().manual_seed(2), 2.0)
    target, drafter = (transformer(grid, seed=number) for number, grid in enumerate(GRIDS))
    generator = torch.Generator().manual_seed(4)
    tokens = tuple(torch.randint(CODES, grid, generator=generator) for grid in GRIDS)
    return Trained("tiny", Models(target, (drafter,), tokenizer), captions(), CAPTIONS[:2], tokens, SETTINGS)

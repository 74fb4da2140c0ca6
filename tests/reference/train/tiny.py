"""Trainees small enough for a step in milliseconds, on the demo's scenes."""

import torch

from mulo_sd.engines.prompts.prefix import PREFIX_LENGTH, PREFIX_VOCABULARY
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer
from mulo_sd.reference.demo.examples import DemoExamples
from mulo_sd.reference.latent import LatentScalerConfig
from mulo_sd.reference.tokenizer import ImageTokenizer, Tokenizer, TokenizerConfig
from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.block import BlockTrainee
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.devices import CPU
from mulo_sd.reference.train.head import HeadTrainee
from mulo_sd.reference.train.scaler import ScalerTrainee
from mulo_sd.reference.train.scaler_losses import ScalerLoss
from mulo_sd.reference.train.tokenizer import TokenizerTrainee
from mulo_sd.reference.train.workers import Workers
from mulo_sd.reference.transformer import Transformer, TransformerConfig

TOKENIZER = TokenizerConfig(codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1)


def demo_config(side: int, layers: int = 1, dim: int = 16) -> TransformerConfig:
    """Return the configuration of a small transformer of the demo's conditions."""
    return TransformerConfig(
        side,
        side,
        vocabulary=TOKENIZER.codes,
        layers=layers,
        heads=2,
        dim=dim,
        prefix_length=PREFIX_LENGTH,
        prefix_vocabulary=PREFIX_VOCABULARY,
    )


def tokenizer_trainee() -> TokenizerTrainee:
    return TokenizerTrainee(TOKENIZER, DemoExamples(), (32, 16, 8), seed=3, device=CPU)


def make_tokenizer() -> Tokenizer:
    torch.manual_seed(1)
    return Tokenizer(TOKENIZER)


def make_vq_tokenizer() -> VQTokenizer:
    """Return a small tokenizer of the published kind, with as many codes."""
    torch.manual_seed(1)
    config = VQConfig(channels=32, multipliers=(1, 1, 2), residual_blocks=1, z_channels=8, codes=16, code_dim=4)
    return VQTokenizer(config).eval()


def make_target() -> Transformer:
    """Return a target whose grid has more cells than a block."""
    torch.manual_seed(1)
    return Transformer(demo_config(8, layers=2))


def autoregressive_trainee(
    workers: Workers = Workers(),  # noqa: B008  (it is frozen)
    batch: int = 2,
    side: int = 4,
    others: tuple[int, ...] = (2,),
    focus_weight: float = 5.0,
    tokenizer: ImageTokenizer | None = None,
) -> AutoregressiveTrainee:
    return AutoregressiveTrainee(
        demo_config(side),
        tokenizer or make_tokenizer(),
        DemoExamples(),
        seed=3,
        batch=batch,
        matrix_rate=0.01,
        context=RescaledContext(share=0.5, sides=others),
        focus_weight=focus_weight,
        workers=workers,
    )


def head_trainee() -> HeadTrainee:
    return HeadTrainee(make_target(), make_tokenizer(), DemoExamples(), seed=3, batch=2, matrix_rate=0.01)


def block_trainee() -> BlockTrainee:
    return BlockTrainee(make_target(), make_tokenizer(), DemoExamples(), seed=3, batch=2, matrix_rate=0.01)


def scaler_trainee(tokenizer: ImageTokenizer, loss: ScalerLoss, is_up: bool = True) -> ScalerTrainee:
    config = LatentScalerConfig(2, tokenizer.config.codes, tokenizer.config.code_dim, 16, 1, 1, 16)
    return ScalerTrainee(is_up, config, tokenizer, DemoExamples(), (8,), loss, 2, seed=4)

"""Models small enough to be made anew for a test."""

import pytest
import torch

from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig


@pytest.fixture
def tiny_tokenizer() -> Tokenizer:
    torch.manual_seed(0)
    config = TokenizerConfig(codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1)
    return Tokenizer(config).eval().requires_grad_(False)


@pytest.fixture
def tiny_transformer() -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(grid_height=4, grid_width=4, vocabulary=16, layers=1, heads=2, dim=16)
    return Transformer(config).eval().requires_grad_(False)

"""Transformers small enough for Triton's interpreter."""

from typing import Any

import torch

from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights, pack
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.transformer import Transformer, TransformerConfig

CPU = torch.device("cpu")
CONFIGS: dict[str, dict[str, Any]] = {
    "rotary and absolute": {"dim": 32, "layers": 2},
    "zero prefix rotation": {"dim": 60, "heads": 3, "vocabulary": 52, "absolute": False, "zero_prefix_rotation": True},
    "absolute": {"dim": 32, "rotary": False},
}
# What is allowed, of the norm of logits, keys and values.
CLOSE = {torch.float32: 1e-5, torch.float16: 5e-3}


def random_transformer(name: str, dtype: torch.dtype, side: int = 4) -> TransformerWeights:
    """Return a model of `CONFIGS` that draws grids of side x side cells."""
    sizes = {"layers": 1, "heads": 2, "vocabulary": 32, "prefix_length": 5, "prefix_vocabulary": 9} | CONFIGS[name]
    model = Transformer(TransformerConfig(side, side, **sizes))
    fill(model, torch.Generator().manual_seed(1), 2.0)
    return pack(model, dtype, CPU)

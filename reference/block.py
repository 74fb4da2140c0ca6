"""The block drafter: a small transformer of the target's grid that drafts many tokens in one pass.

Source: SpecDec (Xia et al., arXiv 2203.16487), whose drafter fills k = 25 masks at once. After the last decided token
it is fed k - 1 mask codes at the positions that follow; the logits after each of the k draft the tokens of those
positions and of the next one. A mask sees what is decided, and the masks of its own pass before it.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mulo_sd.reference.transformer import TransformerConfig

BLOCK_LAYERS = 2


def block_config(target: TransformerConfig, layers: int = BLOCK_LAYERS) -> TransformerConfig:
    """Return the configuration of a target's block drafter: one code more, the mask's, and fewer layers."""
    return replace(target, vocabulary=target.vocabulary + 1, layers=layers)


def mask_code(config: TransformerConfig) -> int:
    """Return the code that stands for a token to draft: the last one."""
    return config.vocabulary - 1


def masked(last: Tensor, count: int, config: TransformerConfig) -> Tensor:
    """Return what a pass is fed to draft `count` tokens: decided ones, Int[n], and the masks, Int[n + count - 1]."""
    return torch.cat([last, torch.full((count - 1,), mask_code(config), dtype=last.dtype)])

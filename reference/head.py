"""A drafting head: one transformer layer that goes on from the target's last hidden state.

Source: EAGLE (arXiv 2401.15077), as LANTERN trained it for LlamaGen. It reads, at position t + 1, what the target
made of token t (its hidden state, after the final norm: what `output` takes) and token t + 1; it predicts the hidden
state of t + 1, and so, through the target's own output matrix, token t + 2. Fed with its own prediction in the
target's place it goes on by another token: a chain, or a tree where several tokens are fed.

Of the prefix it sees hidden states alone: the tokens at positions 1 to P - 1 count as token 0, as in LANTERN's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.transformer import (
    Attend,
    Attention,
    FeedForward,
    RMSNorm,
    Rotate,
    Transformer,
    TransformerConfig,
    causal_attend,
    rotary_table,
    rotate_pairs,
)

PREFIX_TOKEN = 0
# Of the target: a head's file need not hold them.
SHARED = ("tok_embeddings.weight", "output.weight")


@dataclass(frozen=True)
class HeadConfig(TransformerConfig):
    """The size of a head: the target's grid, prefix, vocabulary and width, and one layer."""

    layers: int = 1
    absolute: bool = False

    def __post_init__(self) -> None:
        """Check what a head has not.

        Raises:
            ValueError: more than one layer, or learned positions.
        """
        super().__post_init__()
        if self.layers != 1 or self.absolute:
            raise ValueError(f"head: expected 1 layer and no learned positions, got {self.layers} and {self.absolute}")

    @classmethod
    def of(cls, target: TransformerConfig, norm_eps: float = 1e-6) -> "HeadConfig":
        """Return the configuration of a target's head."""
        return cls(
            grid_height=target.grid_height,
            grid_width=target.grid_width,
            vocabulary=target.vocabulary,
            heads=target.heads,
            dim=target.dim,
            prefix_length=target.prefix_length,
            rope_base=target.rope_base,
            norm_eps=norm_eps,
            zero_prefix_rotation=target.zero_prefix_rotation,
        )


class HeadBlock(nn.Module):
    """A transformer block whose attention takes its input as it is: EAGLE's first layer has no norm there."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, rotate: Rotate, attend: Attend) -> Tensor:
        x = x + self.attention(x, 0, cos, sin, rotate, attend)
        return cast(Tensor, x + self.feed_forward(self.ffn_norm(x)))


class Head(nn.Module):
    """EAGLE's drafting head."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocabulary, config.dim)
        self.fc = nn.Linear(2 * config.dim, config.dim)
        self.layer = HeadBlock(config)
        self.output = nn.Linear(config.dim, config.vocabulary, bias=False)
        self.make_rotary_table()

    def make_rotary_table(self) -> None:
        """Compute what follows from the configuration and is not among the weights."""
        cos, sin = rotary_table(self.config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(
        self,
        tokens: Tensor,
        features: Tensor,
        positions: Tensor,
        attend: Attend = causal_attend,
        rotate: Rotate = rotate_pairs,
    ) -> tuple[Tensor, Tensor]:
        """Predict what the target will make of the tokens, and which tokens follow them.

        Args:
            tokens: Int[B, T]; PREFIX_TOKEN for one of the prefix.
            features: Float[B, T, dim], the hidden state of the token before each: the target's, or this head's own.
            positions: Int[B, T], where the tokens stand in the target's sequence; never 0, which nothing comes before.
            attend: Keeps keys and values and attends to them.
            rotate: Applies the rotary positions.

        Returns:
            The logits that follow each token, Float[B, T, vocabulary], and its hidden state, Float[B, T, dim].
        """
        cos, sin = F.embedding(positions, self.cos), F.embedding(positions, self.sin)
        embeddings = self.tok_embeddings(tokens).to(features.dtype)
        hidden = self.layer(self.fc(torch.cat([embeddings, features], dim=-1)), cos, sin, rotate, attend)
        return self.output(hidden), hidden


def own_tensors(head: Head) -> dict[str, Tensor]:
    """Return a head's tensors without those that are the target's, by name."""
    return {name: value for name, value in head.state_dict().items() if name not in SHARED}


def with_shared(tensors: Mapping[str, Tensor], target: Transformer) -> dict[str, Tensor]:
    """Return tensors of a head with the target's in the places of those that are missing and shared."""
    theirs = target.state_dict()
    return {name: theirs[name] for name in SHARED} | dict(tensors)

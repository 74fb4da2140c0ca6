"""The autoregressive transformer that serves as target and as drafter: the demo's, LlamaGen's and Tar's AR-DTok's.

Pre-norm blocks with RMSNorm and SwiGLU; positions are rotary in two dimensions, absolute, or both; a prefix
carries the condition. Names are the published checkpoints'. The module holds weights and the order of
operations; where keys and values are kept is the caller's business (`attend`), so that training, the
reference's cache and exported graphs share every line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.prefix import CaptionEmbedding, ClassEmbedding, ConditionKind, FeatureProjection, FieldsEmbedding

# (layer, query, key, value), each Float[B, heads, T, head_dim] -> Float[B, heads, T, head_dim]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
# (Float[B, T, heads, head_dim], cos, sin) -> the same shape, rotated
Rotate = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TransformerConfig:
    """The size of a transformer and of the grid that it models, and what sets the families apart.

    Attributes:
        prefix_vocabulary: Entries of the condition's table, for the kinds that have one.
        condition: How a condition becomes the prefix's embeddings.
        condition_width: Of a vector of features, for the kinds that take them.
        rotary: Whether queries and keys of image tokens are rotated by row and column.
        zero_prefix_rotation: Whether cos and sin are both 0 for the prefix, as in LlamaGen's checkpoints, whose
            prefix has zero keys therefore; else the prefix is not rotated.
        absolute: Whether a learned embedding of its position is added to every token.
    """

    grid_height: int
    grid_width: int
    vocabulary: int = 1024
    layers: int = 5
    heads: int = 4
    dim: int = 256
    prefix_length: int = 12
    prefix_vocabulary: int = 78
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    condition: ConditionKind = "fields"
    condition_width: int = 0
    rotary: bool = True
    zero_prefix_rotation: bool = False
    absolute: bool = True

    def __post_init__(self) -> None:
        """Check that heads can be rotated in two dimensions.

        Raises:
            ValueError: `dim` is no multiple of 4 * `heads`.
        """
        if self.dim % (4 * self.heads):
            raise ValueError(f"dim: expected a multiple of 4 * heads = {4 * self.heads}, got {self.dim}")

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def hidden(self) -> int:
        """SwiGLU's width: 8/3 of dim, rounded up to a multiple of 256."""
        return -(-int(8 * self.dim / 3) // 256) * 256

    @property
    def sequence_length(self) -> int:
        """Prefix tokens plus one place for each cell of the grid (GRID-2)."""
        return self.prefix_length + self.grid_height * self.grid_width


def rotary_table(config: TransformerConfig) -> tuple[Tensor, Tensor]:
    """Return cos and sin, each Float[sequence_length, head_dim / 2]: 2-D rotary positions.

    The first half of the angles turns with the row, the second with the column. Prefix positions are not
    rotated (angle 0), so that an image query meets a prefix key at its own row and column; or their cos and sin are
    both 0 (`zero_prefix_rotation`).
    """
    half = config.head_dim // 2
    frequencies = config.rope_base ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
    cells = torch.arange(config.grid_height * config.grid_width)
    rows, columns = cells // config.grid_width, cells % config.grid_width
    angles = torch.cat([rows[:, None] * frequencies, columns[:, None] * frequencies], dim=1)
    angles = torch.cat([torch.zeros(config.prefix_length, half), angles])
    cos, sin = angles.cos().float(), angles.sin().float()
    if config.zero_prefix_rotation:
        cos[: config.prefix_length] = 0
    return cos, sin


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate interleaved pairs of channels: x Float[B, T, heads, head_dim], cos and sin Float[B, T, head_dim / 2]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[:, :, None], sin[:, :, None]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def leave(x: Tensor, _cos: Tensor, _sin: Tensor) -> Tensor:
    """Rotate nothing: of a transformer without rotary positions."""
    return x


def causal_attend(_layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend over the sequence itself; for training, where a pass feeds everything in order."""
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Multi-head self-attention with a fused projection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.heads, config.head_dim
        self.wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x: Tensor, layer: int, cos: Tensor, sin: Tensor, rotate: Rotate, attend: Attend) -> Tensor:
        batch, length, dim = x.shape
        query, key, value = (
            part.reshape(batch, length, self.heads, self.head_dim) for part in self.wqkv(x).split(dim, dim=-1)
        )
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        mixed = attend(layer, query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        return cast(Tensor, self.wo(mixed.transpose(1, 2).reshape(batch, length, dim)))


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden, bias=False)
        self.w2 = nn.Linear(config.hidden, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.w2(F.silu(self.w1(x)) * self.w3(x)))


class Block(nn.Module):
    """Attention, then feed-forward, each after a norm and added to its input."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)

    def forward(self, x: Tensor, layer: int, cos: Tensor, sin: Tensor, rotate: Rotate, attend: Attend) -> Tensor:
        x = x + self.attention(self.attention_norm(x), layer, cos, sin, rotate, attend)
        return cast(Tensor, x + self.feed_forward(self.ffn_norm(x)))


def _condition_embedding(config: TransformerConfig) -> nn.Module:
    if config.condition == "caption":
        return CaptionEmbedding(config.prefix_length, config.condition_width, config.dim)
    if config.condition == "class":
        return ClassEmbedding(config.prefix_vocabulary, config.dim)
    return FieldsEmbedding(config.prefix_vocabulary, config.dim)


class Transformer(nn.Module):
    """An autoregressive model of a token grid after a prefix."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocabulary, config.dim)
        if config.condition == "features":
            self.clip_proj = FeatureProjection(config.condition_width, config.dim)
        else:
            self.cls_embedding = _condition_embedding(config)
        self.abs_pe = nn.Parameter(torch.zeros(config.sequence_length, config.dim)) if config.absolute else None
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocabulary, bias=False)
        self.make_rotary_table()

    def make_rotary_table(self) -> None:
        """Compute what follows from the configuration and is not among the weights."""
        cos, sin = rotary_table(self.config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def prefix_embeddings(self, condition: Tensor) -> Tensor:
        """Embed a condition, Int[B, P, fields] or Float[B, P, width] by its kind -> Float[B, P, dim]."""
        embed = self.clip_proj if self.config.condition == "features" else self.cls_embedding
        return cast(Tensor, embed(condition))

    def null_condition(self) -> Tensor | None:
        """Return what guidance takes for no condition, shaped as a condition; None where the caller has to say."""
        config = self.config
        if config.condition == "caption":
            return cast(CaptionEmbedding, self.cls_embedding).uncond_embedding
        if config.condition == "class":
            return torch.full((config.prefix_length, 1), config.prefix_vocabulary - 1)
        if config.condition == "features":
            return torch.zeros(config.prefix_length, config.condition_width)
        return None

    def token_embeddings(self, tokens: Tensor) -> Tensor:
        """Embed image tokens: Int[B, T] -> Float[B, T, dim]."""
        return cast(Tensor, self.tok_embeddings(tokens))

    def last_hidden(
        self, embeddings: Tensor, positions: Tensor, attend: Attend = causal_attend, rotate: Rotate = rotate_pairs
    ) -> Tensor:
        """Return what `output` makes the logits of, Float[B, T, dim]: the last block's, after the norm.

        Args:
            embeddings: Float[B, T, dim], of prefix or image tokens.
            positions: Int[B, T], where they stand in the sequence (GRID-2: prefix first, then raster order).
            attend: Keeps keys and values and attends to them.
            rotate: Applies the rotary positions, where there are any.
        """
        cos, sin = F.embedding(positions, self.cos), F.embedding(positions, self.sin)
        rotate = rotate if self.config.rotary else leave
        x = embeddings if self.abs_pe is None else embeddings + F.embedding(positions, self.abs_pe)
        for index, block in enumerate(self.layers):
            x = block(x, index, cos, sin, rotate, attend)
        return cast(Tensor, self.norm(x))

    def forward(
        self, embeddings: Tensor, positions: Tensor, attend: Attend = causal_attend, rotate: Rotate = rotate_pairs
    ) -> Tensor:
        """Return the logits that follow each fed token, Float[B, T, vocabulary]; arguments as of `last_hidden`."""
        return cast(Tensor, self.output(self.last_hidden(embeddings, positions, attend, rotate)))

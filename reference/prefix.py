"""How a condition becomes the embeddings of a prefix: one module for each kind of condition (GRID-2)."""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# fields: rows of ids, whose embeddings are added (the demo). class: one id (LlamaGen c2i). caption: a text encoder's
# features through an MLP (LlamaGen t2i). features: an image encoder's features through a projection (Tar's AR-DTok).
ConditionKind = Literal["fields", "class", "caption", "features"]


class FieldsEmbedding(nn.Embedding):
    """Int[B, P, fields] -> Float[B, P, dim]: the sum over the fields; id 0 adds nothing."""

    def forward(self, condition: Tensor) -> Tensor:
        fields: Tensor = super().forward(condition) * (condition > 0)[..., None]  # Float[B, P, fields, dim]
        return fields.sum(dim=2)


class ClassEmbedding(nn.Module):
    """Int[B, P, 1] -> Float[B, P, dim]; the last entry of the table is the null class."""

    def __init__(self, entries: int, dim: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(entries, dim)

    def forward(self, condition: Tensor) -> Tensor:
        return cast(Tensor, self.embedding_table(condition[..., 0]))


class CaptionProjection(nn.Module):
    """fc2(gelu(fc1(x))), GELU by its tanh approximation."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, condition: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(condition), approximate="tanh")))


class CaptionEmbedding(nn.Module):
    """Float[B, P, width] -> Float[B, P, dim]; the null condition is learned and lies beside the projection."""

    uncond_embedding: Tensor

    def __init__(self, length: int, width: int, dim: int) -> None:
        super().__init__()
        self.cap_proj = CaptionProjection(width, dim)
        self.register_buffer("uncond_embedding", torch.zeros(length, width))

    def forward(self, condition: Tensor) -> Tensor:
        return cast(Tensor, self.cap_proj(condition.to(self.uncond_embedding.dtype)))


class FeatureProjection(nn.Linear):
    """Float[B, P, width] -> Float[B, P, dim]."""

    def forward(self, condition: Tensor) -> Tensor:
        return super().forward(condition.to(self.weight.dtype))

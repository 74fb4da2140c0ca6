"""Target and drafter as graphs: one pass over a slot-addressed, append-only KV cache.

New keys and values go to consecutive slots from `write_index` on. `slot_ranks` says which sequence
position a slot holds; a dead slot holds DEAD_RANK. A query at position q sees the slots whose rank
is at most q: by KV-1 and KV-3 that is what the reference's position-addressed cache shows it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.transformer import Transformer


@torch.library.custom_op("mulo_sd::append_slots", mutates_args=())
def append_slots(cache: Tensor, update: Tensor, write_index: Tensor) -> Tensor:
    """Return `cache`, Float[B, heads, C, d], with `update`, Float[B, heads, T, d], written from `write_index` on.

    Opset 24's TensorScatter: ONNX Runtime writes in place where input and output share a buffer,
    TensorRT makes it an in-place KV cache update.
    """
    updated = cache.clone()
    for row, start in enumerate(write_index.tolist()):
        updated[row, :, start : start + update.shape[2]] = update[row]
    return updated


@append_slots.register_fake
def _(cache: Tensor, _update: Tensor, _write_index: Tensor) -> Tensor:
    return torch.empty_like(cache)


def cache_head_dim(model: Transformer) -> int:
    """Return the channels that keys and values have in a cache: a multiple of 8, of which kernels make something."""
    return -(-model.config.head_dim // 8) * 8


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The reference's rotation as ONNX's RotaryEmbedding; x Float[B, T, heads, d]."""
    rotated: Tensor = torch.onnx.ops.rotary_embedding(x.transpose(1, 2), cos, sin, interleaved=True)
    return rotated.transpose(1, 2)


class TransformerGraph(nn.Module):
    """One pass of a transformer.

    Inputs:
        tokens: Int[B, T]; -1 stands for a prefix token.
        prefix: Float32[B, T, dim], embeddings where tokens is -1, ignored elsewhere.
        positions: Int[B, T], sequence positions.
        slot_ranks: Int[B, C], the slots that this pass writes included.
        write_index: Int[B], the slot of the first token.
        caches: key and value of every layer in turn, [B, heads, C, cache_head_dim].

    Outputs:
        logits Float32[B, T, V], then the updated caches.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        prefix: Tensor,
        positions: Tensor,
        slot_ranks: Tensor,
        write_index: Tensor,
        caches: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Run the pass."""
        updated: list[Tensor] = []
        visible = slot_ranks[:, None, None, :] <= positions[:, None, :, None]  # Bool[B, 1, T, C]

        head_dim = self.model.config.head_dim
        padding = (0, cache_head_dim(self.model) - head_dim)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if padding[1]:  # zeros: they add nothing to a product, and their values are cut off again
                query, key, value = (F.pad(part, padding) for part in (query, key, value))
            keys = append_slots(caches[2 * layer], key, write_index)
            values = append_slots(caches[2 * layer + 1], value, write_index)
            updated.extend((keys, values))
            mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible, scale=head_dim**-0.5)
            return mixed[..., :head_dim] if padding[1] else mixed

        embeddings = torch.where(
            tokens[..., None] < 0, prefix.to(caches[0].dtype), self.model.token_embeddings(tokens.clamp(min=0))
        )
        logits = self.model(embeddings, positions, attend=attend, rotate=_rotate)
        return (logits.float(), *updated)


class ConditionGraph(nn.Module):
    """A condition's prefix embeddings: Int[B, P, fields] or Float32[B, P, width] -> prefix Float32[B, P, dim]."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, condition: Tensor) -> Tensor:
        """Embed the prefix."""
        return self.model.prefix_embeddings(condition).float()

"""What all graphs over a slot-addressed, append-only KV cache share: writing, seeing and attending.

New keys and values go to consecutive slots from `write_index` on. `slot_ranks` says which sequence
position a slot holds; a dead slot holds DEAD_RANK. A query at position q sees the slots whose rank
is at most q: by KV-1 and KV-3 that is what the reference's position-addressed cache shows it.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.engines.bundle.contract import cache_head_dim
from mulo_sd.export.graphs.specification import FEW, Range
from mulo_sd.reference.transformer import Attend, TransformerConfig

# Guidance feeds two rows, conditional and unconditional.
BATCH: Range = (1, 2, 2)
# Decodes that share passes: rows of several, with few tokens each, or with those of a sweep. Either takes less memory
# than a prefill of a grid of 32 x 32 cells.
SHARED_BATCH: Range = (1, 8, 16)
SHARED_TOKENS: tuple[Range, ...] = ((1, 1, 8), (1, 16, 64))


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


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The reference's rotation as ONNX's RotaryEmbedding; x Float[B, T, heads, d]."""
    rotated: Tensor = torch.onnx.ops.rotary_embedding(x.transpose(1, 2), cos, sin, interleaved=True)
    return rotated.transpose(1, 2)


def visible_slots(slot_ranks: Tensor, positions: Tensor) -> Tensor:
    """Return which slots each query sees by rank and position, Bool[B, 1, T, C]."""
    return slot_ranks[:, None, None, :] <= positions[:, None, :, None]


def on_branch(slot_branches: Tensor, branches: Tensor) -> Tensor:
    """Return which slots, Int[B, C], have every bit that a query, Int[B, T], asks for, Bool[B, 1, T, C]."""
    asked = branches[:, None, :, None]
    return (slot_branches[:, None, None, :] & asked) == asked


def attention_over_slots(
    config: TransformerConfig, caches: Sequence[Tensor], write_index: Tensor, visible: Tensor, updated: list[Tensor]
) -> Attend:
    """Return the attention of a pass that writes its keys and values and attends to visible slots.

    Args:
        config: Of the transformer.
        caches: key and value of every layer in turn, [B, heads, C, cache_head_dim].
        write_index: Int[B], the slot of the first token.
        visible: Bool[B, 1, T, C].
        updated: The caches with the pass's keys and values are added to it, in their order.
    """
    head_dim = config.head_dim
    padding = (0, cache_head_dim(head_dim) - head_dim)

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if padding[1]:  # zeros: they add nothing to a product, and their values are cut off again
            query, key, value = (F.pad(part, padding) for part in (query, key, value))
        keys = append_slots(caches[2 * layer], key, write_index)
        values = append_slots(caches[2 * layer + 1], value, write_index)
        updated.extend((keys, values))
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible, scale=head_dim**-0.5)
        return mixed[..., :head_dim] if padding[1] else mixed

    return attend


def profiles(ranges: Mapping[str, Range], longest: int) -> tuple[Mapping[str, Range], ...]:
    """Return the shapes of a decode's passes: one token, few, many (prefill, verification), and several decodes'."""
    few = min(FEW, longest)
    ranges_of_fed: list[Range] = [(low, min(usual, longest), min(high, longest)) for low, usual, high in SHARED_TOKENS]
    shared = dict.fromkeys(ranges_of_fed)
    return (
        {**ranges, "fed": (1, 1, 1)},
        {**ranges, "fed": (1, min(8, few), few)},
        {**ranges, "fed": (1, max(longest // 4, 1), longest)},
        *({**ranges, "batch": SHARED_BATCH, "fed": fed} for fed in shared),
    )

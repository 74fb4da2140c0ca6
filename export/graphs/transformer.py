"""Target and drafter as graphs: one pass over a slot-addressed, append-only KV cache.

New keys and values go to consecutive slots from `write_index` on. `slot_ranks` says which sequence
position a slot holds; a dead slot holds DEAD_RANK. A query at position q sees the slots whose rank
is at most q: by KV-1 and KV-3 that is what the reference's position-addressed cache shows it.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import (
    SLOTS_DIMENSION,
    cache_head_dim,
    cache_names,
    condition_graph,
    model_names,
    slot_count,
    updated_cache,
)
from mulo_sd.export.graphs.specification import FEW, GraphSpecification, Range
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer

# Guidance feeds two rows, conditional and unconditional.
BATCH: Range = (1, 2, 2)
# Decodes that share passes: rows of several, with few tokens each.
SHARED_BATCH: Range = (1, 8, 16)
SHARED_TOKENS = 8


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
        padding = (0, cache_head_dim(head_dim) - head_dim)

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


def _profiles(ranges: Mapping[str, Range], longest: int) -> tuple[Mapping[str, Range], ...]:
    """Return the shapes of a decode's passes: one token, few, many (prefill, verification), and several decodes'."""
    few = min(FEW, longest)
    return (
        {**ranges, "fed": (1, 1, 1)},
        {**ranges, "fed": (1, min(8, few), few)},
        {**ranges, "fed": (1, max(longest // 4, 1), longest)},
        {**ranges, "batch": SHARED_BATCH, "fed": (1, 1, min(SHARED_TOKENS, longest))},
    )


def transformer_graph(models: Models, number: int, dtype: torch.dtype) -> GraphSpecification:
    """Return a transformer's graph.

    Args:
        models: In float32.
        number: Of the transformer, 0 for the target.
        dtype: Of keys and values.
    """
    name, model = model_names(len(models.drafters))[number], models.transformer(number)
    config, slots = model.config, slot_count(model.config)
    batch, fed = 2, 3
    cache_shape = (batch, config.heads, slots, cache_head_dim(config.head_dim))
    names = cache_names(config.layers)
    both = {0: "batch", 1: "fed"}
    # A runtime may attend over the slots that are filled, and no more.
    ranges: dict[str, Range] = {
        "batch": BATCH,
        "fed": (1, 1, config.sequence_length),
        SLOTS_DIMENSION: (1, slots, slots),
    }
    return GraphSpecification(
        name=name,
        module=TransformerGraph(model),
        example={
            "tokens": torch.zeros(batch, fed, dtype=torch.long),
            "prefix": torch.zeros(batch, fed, config.dim),
            "positions": torch.zeros(batch, fed, dtype=torch.long),
            "slot_ranks": torch.zeros(batch, slots, dtype=torch.long),
            "write_index": torch.zeros(batch, dtype=torch.long),
            "caches": [torch.zeros(cache_shape, dtype=dtype) for _ in names],
        },
        dynamic={
            "tokens": both,
            "prefix": both,
            "positions": both,
            "slot_ranks": {0: "batch", 1: SLOTS_DIMENSION},
            "write_index": {0: "batch"},
            "caches": {0: "batch", 2: SLOTS_DIMENSION},
        },
        input_names=("tokens", "prefix", "positions", "slot_ranks", "write_index", *names),
        output_names=("logits", *map(updated_cache, names)),
        ranges=ranges,
        kind="logits",
        compared="logits",
        weights=name,
        model_number=number,
        profiles=_profiles(ranges, config.sequence_length),
    )


def example_condition(model: Transformer, fields: int) -> Tensor:
    """Return a condition of a model's shape and type, all zeros: Int[P, fields] or Float32[P, width]."""
    config = model.config
    if config.condition_width:
        return torch.zeros(config.prefix_length, config.condition_width)
    return torch.zeros(config.prefix_length, 1 if config.condition == "class" else fields, dtype=torch.long)


def prefix_graph(models: Models, number: int, fields: int) -> GraphSpecification:
    """Return the graph that makes a transformer's prefix of a condition.

    Args:
        models: In float32.
        number: Of the transformer, 0 for the target.
        fields: Ids a prefix token, of models that take fields.
    """
    name, model = model_names(len(models.drafters))[number], models.transformer(number)
    return GraphSpecification(
        name=condition_graph(name),
        module=ConditionGraph(model),
        example={"condition": example_condition(model, fields)[None].repeat(2, 1, 1)},
        dynamic={"condition": {0: "batch"}},
        input_names=("condition",),
        output_names=("prefix",),
        ranges={"batch": BATCH},
        kind="embeddings",
        compared="prefix",
        weights=name,
        model_number=number,
    )

"""Target and drafter as graphs: one pass over a slot-addressed KV cache (`export.graphs.slots`)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import (
    HIDDEN,
    SLOTS_DIMENSION,
    cache_head_dim,
    cache_names,
    condition_graph,
    slot_count,
    updated_cache,
)
from mulo_sd.export.graphs.slots import BATCH, attention_over_slots, profiles, rotate, visible_slots
from mulo_sd.export.graphs.specification import GraphSpecification, Range
from mulo_sd.reference.transformer import Transformer, TransformerConfig


def embedded_tokens(model: Transformer, tokens: Tensor, prefix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what enters a transformer, Float[B, T, dim]: `prefix` where tokens, Int[B, T], is -1."""
    return torch.where(tokens[..., None] < 0, prefix.to(dtype), model.token_embeddings(tokens.clamp(min=0)))


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
        visible = visible_slots(slot_ranks, positions)
        attend = attention_over_slots(self.model.config, caches, write_index, visible, updated)
        embeddings = embedded_tokens(self.model, tokens, prefix, caches[0].dtype)
        logits = self.model(embeddings, positions, attend=attend, rotate=rotate)
        return (logits.float(), *updated)


class ConditionGraph(nn.Module):
    """A condition's prefix embeddings: Int[B, P, fields] or Float32[B, P, width] -> prefix Float32[B, P, dim]."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, condition: Tensor) -> Tensor:
        """Embed the prefix."""
        return self.model.prefix_embeddings(condition).float()


def pass_specification(
    name: str,
    module: nn.Module,
    config: TransformerConfig,
    dtype: torch.dtype,
    embedded: str,
    model_number: int | None = None,
    branched_slots: int = 0,
    weights: str | None = None,
) -> GraphSpecification:
    """Return the graph of a pass over a cache.

    Args:
        name: In the bundle.
        module: Takes tokens, `embedded`, positions, slot_ranks, the inputs of branches if any, write_index and caches.
        config: Of the transformer.
        dtype: Of keys and values.
        embedded: The input of each token that is an embedding: "prefix" or "features".
        model_number: Of the transformer, 0 for the target; None of what is none of the bundle's models.
        branched_slots: Slots for nodes of trees, where its tokens may stand on branches; it gives hidden states then.
        weights: As of `GraphSpecification`; None is the graph's own name.
    """
    slots = slot_count(config, branched_slots)
    batch, fed = 2, 3  # of the example
    cache_shape = (batch, config.heads, slots, cache_head_dim(config.head_dim))
    names = cache_names(config.layers)
    of_tokens, of_slots = {0: "batch", 1: "fed"}, {0: "batch", 1: SLOTS_DIMENSION}
    numbers = torch.zeros(batch, fed, dtype=torch.long)
    example = {
        "tokens": numbers,
        embedded: torch.zeros(batch, fed, config.dim),
        "positions": numbers.clone(),
        "slot_ranks": torch.zeros(batch, slots, dtype=torch.long),
    }
    dynamic = {"tokens": of_tokens, embedded: of_tokens, "positions": of_tokens, "slot_ranks": of_slots}
    if branched_slots:
        example |= {"branches": numbers.clone(), "slot_branches": torch.zeros(batch, slots, dtype=torch.long)}
        dynamic |= {"branches": of_tokens, "slot_branches": of_slots}
    example |= {"write_index": torch.zeros(batch, dtype=torch.long)}
    inputs = (*example, *names)
    # A runtime may attend over the slots that are filled, and no more.
    ranges: dict[str, Range] = {
        "batch": BATCH,
        "fed": (1, 1, config.sequence_length + branched_slots),
        SLOTS_DIMENSION: (1, slots, slots),
    }
    return GraphSpecification(
        name=name,
        module=module,
        example={**example, "caches": [torch.zeros(cache_shape, dtype=dtype) for _ in names]},
        dynamic={**dynamic, "write_index": {0: "batch"}, "caches": {0: "batch", 2: SLOTS_DIMENSION}},
        input_names=inputs,
        output_names=("logits", *((HIDDEN,) if branched_slots else ()), *map(updated_cache, names)),
        ranges=ranges,
        kind="logits",
        compared="logits",
        weights=name if weights is None else weights,
        model_number=model_number,
        profiles=profiles(ranges, config.sequence_length + branched_slots),
    )


def transformer_graph(
    name: str, model: Transformer, dtype: torch.dtype, number: int | None = None
) -> GraphSpecification:
    """Return a transformer's graph.

    Args:
        name: In the bundle.
        model: In float32.
        dtype: Of keys and values.
        number: Of the transformer, 0 for the target; None of the block drafter.
    """
    return pass_specification(name, TransformerGraph(model), model.config, dtype, "prefix", number)


def example_condition(model: Transformer, fields: int) -> Tensor:
    """Return a condition of a model's shape and type, all zeros: Int[P, fields] or Float32[P, width]."""
    config = model.config
    if config.condition_width:
        return torch.zeros(config.prefix_length, config.condition_width)
    return torch.zeros(config.prefix_length, 1 if config.condition == "class" else fields, dtype=torch.long)


def prefix_graph(name: str, model: Transformer, fields: int, number: int | None = None) -> GraphSpecification:
    """Return the graph that makes a transformer's prefix of a condition.

    Args:
        name: Of the transformer's graph.
        model: In float32.
        fields: Ids a prefix token, of models that take fields.
        number: Of the transformer, 0 for the target; None of the block drafter.
    """
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

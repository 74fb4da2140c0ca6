"""Graphs whose tokens may stand on branches, and which give hidden states: the target once more, and its head.

Beside ranks and positions, bits say who sees whom (`engines.rules.branches`). Decodes that need neither keep the graph
`target`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import HEAD, TARGET_BRANCHED
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.export.graphs.slots import attention_over_slots, on_branch, rotate, visible_slots
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.graphs.transformer import embedded_tokens, pass_specification
from mulo_sd.reference.head import Head
from mulo_sd.reference.transformer import Transformer


class BranchedGraph(nn.Module):
    """One pass of the target.

    Inputs:
        branches: Int[B, T], the bits that a slot must have to be seen by each token.
        slot_branches: Int[B, C], the bits that each slot has.
        others: As of `TransformerGraph`.

    Outputs:
        logits Float32[B, T, V], hidden Float32[B, T, dim] that they are made of, then the updated caches.
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
        branches: Tensor,
        slot_branches: Tensor,
        write_index: Tensor,
        caches: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Run the pass."""
        updated: list[Tensor] = []
        visible = visible_slots(slot_ranks, positions) & on_branch(slot_branches, branches)
        attend = attention_over_slots(self.model.config, caches, write_index, visible, updated)
        embeddings = embedded_tokens(self.model, tokens, prefix, caches[0].dtype)
        hidden = self.model.last_hidden(embeddings, positions, attend=attend, rotate=rotate)
        return (self.model.output(hidden).float(), hidden.float(), *updated)


class HeadGraph(nn.Module):
    """One pass of the head.

    Inputs:
        features: Float32[B, T, dim], the hidden state of the token before each, in place of `prefix`.
        others: As of `BranchedGraph`; a token of the prefix is 0.

    Outputs:
        As of `BranchedGraph`.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        tokens: Tensor,
        features: Tensor,
        positions: Tensor,
        slot_ranks: Tensor,
        branches: Tensor,
        slot_branches: Tensor,
        write_index: Tensor,
        caches: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Run the pass."""
        updated: list[Tensor] = []
        visible = visible_slots(slot_ranks, positions) & on_branch(slot_branches, branches)
        attend = attention_over_slots(self.head.config, caches, write_index, visible, updated)
        logits, hidden = self.head(tokens, features.to(caches[0].dtype), positions, attend, rotate)
        return (logits.float(), hidden.float(), *updated)


def branched_graph(target: Transformer, weights: str, dtype: torch.dtype) -> GraphSpecification:
    """Return the target's graph with branches and hidden states.

    Args:
        target: In float32.
        weights: The file of weights that it shares with the target's own graph.
        dtype: Of keys and values.
    """
    return pass_specification(
        TARGET_BRANCHED,
        BranchedGraph(target),
        target.config,
        dtype,
        "prefix",
        branched_slots=MAX_NODES,
        weights=weights,
    )


def head_graph(head: Head, weights: str, dtype: torch.dtype) -> GraphSpecification:
    """Return a head's graph; arguments as of `branched_graph`, since it has tensors that are the target's."""
    return pass_specification(
        HEAD, HeadGraph(head), head.config, dtype, "features", branched_slots=MAX_NODES, weights=weights
    )

"""The position-addressed KV cache: what a query may see (KV-1 to KV-3)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.branches import ALL_BITS, Branches, Nodes
from mulo_sd.reference.transformer import Transformer, TransformerConfig


class KVCache:
    """Keys and values by sequence position, and those of a tree's nodes behind them.

    key  Float[layers, B, heads, sequence, head_dim]      value: the same
    written  Bool[sequence]                               which positions hold something
    bits  Int[sequence]                                   on which branches each stands
    """

    def __init__(
        self,
        config: TransformerConfig,
        batch: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        shape = (config.layers, batch, config.heads, config.sequence_length, config.head_dim)
        self.key = torch.zeros(shape, dtype=dtype, device=device)
        self.value = torch.zeros(shape, dtype=dtype, device=device)
        self.written = torch.zeros(config.sequence_length, dtype=torch.bool, device=device)
        self.bits = torch.full((config.sequence_length,), ALL_BITS, device=device)
        self.nodes = Nodes.none()
        self.node_keys: dict[int, Tensor] = {}  # by layer, Float[B, heads, nodes, head_dim]
        self.node_values: dict[int, Tensor] = {}

    def attend(
        self, positions: Tensor, branches: Branches | None = None, parents: Tensor | None = None
    ) -> Callable[[int, Tensor, Tensor, Tensor], Tensor]:
        """Return the attention of one pass that feeds `positions`, Int[T].

        KV-1: the pass writes all its keys and values first; then a query at q sees every written position <= q.

        Args:
            positions: Of ordinary tokens, distinct, then those of nodes.
            branches: Of the ordinary tokens; None where they stand on none.
            parents: Int[m], of the last m tokens, which are nodes (`reference.branches`).
        """
        count = 0 if parents is None else len(parents)
        own = positions[: len(positions) - count]
        self._write(own, branches)
        if parents is not None:
            self.bits[:] = ALL_BITS
            self.nodes.add(positions[len(own) :], parents)
        nodes, filled = len(self.nodes), int(self.written.nonzero().max()) + 1
        visible = self.written[None, :filled] & (
            torch.arange(filled, device=positions.device)[None] <= positions[:, None]
        )  # Bool[T, filled]
        if branches is not None or (self.bits != ALL_BITS).any():
            asked = torch.zeros_like(positions)
            asked[: len(own)] = 0 if branches is None else branches.queries
            visible &= (self.bits[None, :filled] & asked[:, None]) == asked[:, None]
        if nodes:
            among = torch.zeros(len(positions), nodes, dtype=torch.bool)
            among[len(own) :] = self.nodes.seen[nodes - count :]
            visible = torch.cat([visible, among], dim=1)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.key[layer, :, :, own] = key[:, :, : len(own)]
            self.value[layer, :, :, own] = value[:, :, : len(own)]
            keys, values = self.key[layer, :, :, :filled], self.value[layer, :, :, :filled]
            if nodes:
                own_keys = _grown(self.node_keys, layer, key[:, :, len(own) :])
                own_values = _grown(self.node_values, layer, value[:, :, len(own) :])
                keys, values = torch.cat([keys, own_keys], dim=2), torch.cat([values, own_values], dim=2)
            return F.scaled_dot_product_attention(query, keys, values, attn_mask=visible)

        return attend

    def _write(self, positions: Tensor, branches: Branches | None) -> None:
        """Note where ordinary tokens are written, Int[n]; the nodes before them have had their time."""
        if len(positions) == 0:
            return
        self.nodes = Nodes.none()
        self.node_keys.clear()
        self.node_values.clear()
        self.written[positions] = True
        self.bits[positions] = ALL_BITS if branches is None else branches.slots

    def open(self, positions: Tensor) -> None:
        """Let tokens that stood on a branch, Int[n] positions, be seen by all: they are decided."""
        self.bits[positions] = ALL_BITS

    def forget(self, positions: Tensor) -> None:
        """Hide positions, Int[n], from every later pass, as if nothing had been written there (PREFILL)."""
        self.written[positions] = False


def _grown(parts: dict[int, Tensor], layer: int, more: Tensor) -> Tensor:
    """Return the keys or values of a layer's nodes with those of more, which are kept."""
    parts[layer] = torch.cat([parts[layer], more], dim=2) if layer in parts else more
    return parts[layer]


class Fed(NamedTuple):
    """What a pass says of T tokens.

    Attributes:
        logits: Float[B, T, vocabulary], of the token that follows each.
        hidden: Float[B, T, dim], what `output` makes them of.
    """

    logits: Tensor
    hidden: Tensor


def feed(model: Transformer, cache: KVCache, embeddings: Tensor, positions: Tensor) -> Tensor:
    """Run one pass: feed tokens at distinct positions, return the logits that follow each.

    Args:
        model: The transformer that owns the cache's shape.
        cache: Mutated: the pass writes its keys and values into it.
        embeddings: Float[B, T, dim].
        positions: Int[T], sequence positions, the same for the whole batch.

    Returns:
        Float[B, T, vocabulary].
    """
    return feed_branched(model, cache, embeddings, positions).logits


def feed_branched(
    model: Transformer,
    cache: KVCache,
    embeddings: Tensor,
    positions: Tensor,
    branches: Branches | None = None,
    parents: Tensor | None = None,
) -> Fed:
    """Run one pass of tokens that may stand on branches, and of nodes of a tree behind them.

    Args:
        model: As for `feed`.
        cache: As for `feed`.
        embeddings: Float[B, T, dim].
        positions: Int[T], as for `KVCache.attend`.
        branches: As for `KVCache.attend`.
        parents: As for `KVCache.attend`.
    """
    spread = positions[None].expand(embeddings.shape[0], -1)
    hidden = model.last_hidden(embeddings, spread, attend=cache.attend(positions, branches, parents))
    return Fed(model.output(hidden), hidden)

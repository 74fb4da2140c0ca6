"""The position-addressed KV cache: what a query may see (KV-1 to KV-3)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.transformer import Transformer, TransformerConfig


class KVCache:
    """Keys and values by sequence position.

    key  Float[layers, B, heads, sequence, head_dim]      value: the same
    written  Bool[sequence]                               which positions hold something
    """

    def __init__(self, config: TransformerConfig, batch: int, dtype: torch.dtype = torch.float32) -> None:
        shape = (config.layers, batch, config.heads, config.sequence_length, config.head_dim)
        self.key = torch.zeros(shape, dtype=dtype)
        self.value = torch.zeros(shape, dtype=dtype)
        self.written = torch.zeros(config.sequence_length, dtype=torch.bool)

    def attend(self, positions: Tensor) -> Callable[[int, Tensor, Tensor, Tensor], Tensor]:
        """Return the attention of one pass that feeds `positions`, Int[T].

        KV-1: the pass writes all its keys and values first; then a query at q sees every written position <= q.
        """
        self.written[positions] = True
        filled = int(self.written.nonzero().max()) + 1
        visible = self.written[None, :filled] & (torch.arange(filled)[None] <= positions[:, None])  # Bool[T, filled]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.key[layer, :, :, positions] = key
            self.value[layer, :, :, positions] = value
            return F.scaled_dot_product_attention(
                query, self.key[layer, :, :, :filled], self.value[layer, :, :, :filled], attn_mask=visible
            )

        return attend

    def forget(self, positions: Tensor) -> None:
        """Hide positions, Int[n], from every later pass, as if nothing had been written there (PREFILL)."""
        self.written[positions] = False


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
    logits: Tensor = model.output(feed_hidden(model, cache, embeddings, positions))
    return logits


def feed_hidden(model: Transformer, cache: KVCache, embeddings: Tensor, positions: Tensor) -> Tensor:
    """Run one pass as `feed` does, and return the hidden states that the logits are made of, Float[B, T, dim]."""
    spread = positions[None].expand(embeddings.shape[0], -1)
    return model.hidden_states(embeddings, spread, attend=cache.attend(positions))

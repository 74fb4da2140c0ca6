"""A transformer's weights as passes read them: in one precision, on the device, matrices of one input merged."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from mulo_sd.reference.transformer import Block, Transformer, TransformerConfig, rotary_table


@dataclass(frozen=True)
class LayerWeights:
    """One block: D is `dim`, F is `hidden`; rows of matrices are outputs.

    Attributes:
        attention_norm: Float[D].
        wqkv: Float[3 D, D], queries, keys, values.
        wo: Float[D, D].
        ffn_norm: Float[D].
        w13: Float[2 F, D], w1 above w3.
        w2: Float[D, F].
    """

    attention_norm: Tensor
    wqkv: Tensor
    wo: Tensor
    ffn_norm: Tensor
    w13: Tensor
    w2: Tensor


@dataclass(frozen=True)
class TransformerWeights:
    """A whole model.

    Attributes:
        config: Its size.
        embeddings: Float[V, D].
        absolute: Float[sequence, D], or None.
        cos: Float32[sequence, head_dim / 2], whatever the precision.
        sin: The same.
        layers: Its blocks.
        norm: Float[D].
        output: Float[V, D].
    """

    config: TransformerConfig
    embeddings: Tensor
    absolute: Tensor | None
    cos: Tensor
    sin: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    output: Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.output.dtype


@torch.no_grad()
def pack(model: Transformer, dtype: torch.dtype, device: torch.device) -> TransformerWeights:
    """Return a model's weights; those that have the precision and the device already are not copied, w13 aside."""

    def put(weight: Tensor) -> Tensor:
        return weight.detach().to(device, dtype).contiguous()

    layers = []
    for block in model.layers:
        attention, feed_forward = cast(Block, block).attention, cast(Block, block).feed_forward
        layers.append(
            LayerWeights(
                put(cast(Block, block).attention_norm.weight),
                put(attention.wqkv.weight),
                put(attention.wo.weight),
                put(cast(Block, block).ffn_norm.weight),
                torch.cat([put(feed_forward.w1.weight), put(feed_forward.w3.weight)]),
                put(feed_forward.w2.weight),
            )
        )
    cos, sin = rotary_table(model.config)
    return TransformerWeights(
        model.config,
        put(model.tok_embeddings.weight),
        None if model.abs_pe is None else put(model.abs_pe),
        cos.to(device),
        sin.to(device),
        tuple(layers),
        put(model.norm.weight),
        put(model.output.weight),
    )

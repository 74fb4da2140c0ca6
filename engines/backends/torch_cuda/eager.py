"""A pass in torch's own operations, wherever there are no kernels for it; and what they are compared with."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights


def embed(weights: TransformerWeights, inputs: PassInputs, prefix: Tensor | None = None) -> Tensor:
    """Return what enters the first block, Float[B, T, D].

    Args:
        weights: The model's.
        inputs: tokens and positions.
        prefix: Float[B, T, D], embeddings where tokens is -1; None where there are none.
    """
    x = F.embedding(inputs.tokens if prefix is None else inputs.tokens.clamp(min=0), weights.embeddings)
    if prefix is not None:
        x = torch.where(inputs.tokens[..., None] < 0, prefix.to(x.dtype), x)
    return x if weights.absolute is None else x + F.embedding(inputs.positions, weights.absolute)


def attention_kernels(device: torch.device) -> AbstractContextManager[None]:
    """Choose among attention's kernels: cuDNN's would plan anew for each shape, and flash takes no mask."""
    if device.type != "cuda":
        return nullcontext()
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def run_eagerly(
    weights: TransformerWeights,
    keys: Tensor,
    values: Tensor,
    inputs: PassInputs,
    attended: int,
    prefix: Tensor | None = None,
) -> Tensor:
    """Run a pass and return its logits, Float[B, T, V], in the model's precision.

    Args:
        weights: The model's.
        keys: Float[layers, B, heads, S, head_dim]; the pass writes its own.
        values: The same.
        inputs: Of the pass.
        attended: Slots, from the first, among which all live ones are.
        prefix: As for `embed`.
    """
    hidden = hidden_eagerly(weights, keys, values, inputs, visible_slots(inputs, attended), prefix)
    return F.linear(hidden, weights.output)


def visible_slots(inputs: PassInputs, attended: int) -> Tensor:
    """Return which of the first slots each query sees by rank and position, Bool[B, 1, T, attended]."""
    return inputs.slot_ranks[:, None, None, :attended] <= inputs.positions[:, None, :, None]


def hidden_eagerly(
    weights: TransformerWeights,
    keys: Tensor,
    values: Tensor,
    inputs: PassInputs,
    visible: Tensor,
    prefix: Tensor | None = None,
) -> Tensor:
    """Run a pass and return what its logits are made of, Float[B, T, D]; `visible` says who sees whom."""
    with attention_kernels(keys.device):
        return _run(weights, keys, values, inputs, visible, prefix)


def _run(
    weights: TransformerWeights,
    keys: Tensor,
    values: Tensor,
    inputs: PassInputs,
    visible: Tensor,
    prefix: Tensor | None,
) -> Tensor:
    config, attended = weights.config, visible.shape[-1]
    batch, length = inputs.tokens.shape
    x = embed(weights, inputs, prefix)
    # Once a pass, what attention would make of a mask in every layer.
    bias = torch.zeros(visible.shape, dtype=x.dtype, device=x.device).masked_fill_(~visible, -torch.inf)
    steps = torch.arange(length, device=x.device)
    slots = inputs.write_index.long()[:, None] + steps
    rows = torch.arange(batch, device=x.device)[:, None]
    turn = torch.complex(F.embedding(inputs.positions, weights.cos), F.embedding(inputs.positions, weights.sin))
    apart = (batch, length, 2, config.heads, config.head_dim // 2, 2)
    for number, layer in enumerate(weights.layers):
        normed = F.rms_norm(x, (config.dim,), layer.attention_norm, config.norm_eps)
        joint = F.linear(normed, layer.wqkv).view(batch, length, 3, config.heads, config.head_dim)
        if config.rotary:
            pairs = torch.view_as_complex(joint[:, :, :2].float().reshape(apart))
            turned = torch.view_as_real(pairs * turn[:, :, None, None]).flatten(-2).to(x.dtype)
            query, key = turned.unbind(2)
        else:
            query, key = joint[:, :, 0], joint[:, :, 1]
        own_keys, own_values = keys[number], values[number]
        own_keys[rows, :, slots] = key
        own_values[rows, :, slots] = joint[:, :, 2]
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), own_keys[:, :, :attended], own_values[:, :, :attended], attn_mask=bias
        )
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, length, config.dim), layer.wo)
        normed = F.rms_norm(x, (config.dim,), layer.ffn_norm, config.norm_eps)
        gate, up = F.linear(normed, layer.w13).chunk(2, dim=-1)
        x = x + F.linear(F.silu(gate) * up, layer.w2)
    return F.rms_norm(x, (config.dim,), weights.norm, config.norm_eps)

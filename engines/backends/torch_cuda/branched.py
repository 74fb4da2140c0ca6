"""Passes whose tokens may stand on branches, and which give hidden states: in torch's own operations, not captured."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs, Storage
from mulo_sd.engines.backends.torch_cuda.eager import attention_kernels, hidden_eagerly, visible_slots
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork
from mulo_sd.reference.head import Head
from mulo_sd.reference.transformer import TransformerConfig


class Fed(NamedTuple):
    """What a pass gives, Float32: logits [B, T, V] and hidden states [B, T, D]."""

    logits: Tensor
    hidden: Tensor


class _Inputs(NamedTuple):
    """A pass's inputs on the device, and which slots each query sees, Bool[B, 1, T, attended]."""

    numbers: PassInputs
    visible: Tensor


class BranchedRunner(Protocol):
    """Runs passes of one graph."""

    @property
    def config(self) -> TransformerConfig:
        """The size of its cache."""

    def run(self, storage: Storage, inputs: Mapping[str, NDArray[Any]]) -> Fed:
        """Run a pass; write its keys and values into `storage`."""


def _on_device(work: DeviceWork, inputs: Mapping[str, NDArray[Any]]) -> _Inputs:
    attended = int(inputs["write_index"].max()) + inputs["tokens"].shape[1]
    names = ("tokens", "positions", "slot_ranks", "write_index", "branches", "slot_branches")
    *numbers, branches, slot_branches = (work.put(inputs[name]) for name in names)
    fed, asked = PassInputs(*numbers), branches[:, None, :, None]
    on_branch = (slot_branches[:, None, None, :attended] & asked) == asked
    return _Inputs(fed, visible_slots(fed, attended) & on_branch)


def _embedded(work: DeviceWork, inputs: Mapping[str, NDArray[Any]], name: str) -> Tensor:
    return work.put(np.asarray(inputs[name], dtype=np.float32))


class BranchedTarget:
    """The target, with the weights that its other passes have."""

    def __init__(self, weights: TransformerWeights, work: DeviceWork) -> None:
        self.weights, self.work, self.config = weights, work, weights.config

    def run(self, storage: Storage, inputs: Mapping[str, NDArray[Any]]) -> Fed:
        """Run a pass."""
        numbers, visible = _on_device(self.work, inputs)
        prefix = _embedded(self.work, inputs, "prefix") if (inputs["tokens"] < 0).any() else None
        hidden = hidden_eagerly(self.weights, storage.keys, storage.values, numbers, visible, prefix)
        return Fed(F.linear(hidden, self.weights.output).float(), hidden.float())


class HeadRunner:
    """The head."""

    def __init__(self, head: Head, dtype: torch.dtype, work: DeviceWork) -> None:
        """Take a head that nobody else changes."""
        self.head = head.to(work.device, dtype).eval().requires_grad_(False)
        self.head.make_rotary_table()
        self.head.cos, self.head.sin = self.head.cos.to(work.device), self.head.sin.to(work.device)
        self.dtype, self.work, self.config = dtype, work, head.config

    def run(self, storage: Storage, inputs: Mapping[str, NDArray[Any]]) -> Fed:
        """Run a pass."""
        numbers, visible = _on_device(self.work, inputs)
        features = _embedded(self.work, inputs, "features").to(self.dtype)
        attend = _attend(storage, numbers, visible)
        with attention_kernels(self.work.device):
            logits, hidden = self.head(numbers.tokens, features, numbers.positions, attend, _rotate)
        return Fed(logits.float(), hidden.float())


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate in float32, whatever the precision, as the target's passes do; x Float[B, T, heads, head_dim]."""
    turn = torch.complex(cos, sin)[:, :, None]
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


def _attend(storage: Storage, numbers: PassInputs, visible: Tensor) -> Callable[[int, Tensor, Tensor, Tensor], Tensor]:
    batch, length = numbers.tokens.shape
    slots = numbers.write_index[:, None] + torch.arange(length, device=visible.device)
    rows, attended = torch.arange(batch, device=visible.device)[:, None], visible.shape[-1]

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = storage.keys[layer], storage.values[layer]
        keys[rows, :, slots] = key.transpose(1, 2)
        values[rows, :, slots] = value.transpose(1, 2)
        return F.scaled_dot_product_attention(query, keys[:, :, :attended], values[:, :, :attended], attn_mask=visible)

    return attend

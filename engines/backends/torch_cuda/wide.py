"""A pass of many tokens: the library's products, and fused kernels between them."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.eager import embed
from mulo_sd.engines.backends.torch_cuda.kernels import flash as flash_kernels
from mulo_sd.engines.backends.torch_cuda.kernels import row as row_kernels
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights

# Programs of attention that fill the GPU, by their warps: about four, or two, on each multiprocessor.
FILLING = {4: 528, 8: 264}
MAX_SPLITS = 16
WIDEST_HEAD = 128
# Tokens and channels of a program that rotates; outputs of one that gates; blocks of slots looked at together.
ROTATED_ROWS, ROTATED_CHANNELS, GATED, CHUNK = 4, 256, 1024, 16


class Tiling(NamedTuple):
    """How attention is cut.

    Attributes:
        block_m: Queries of a tile.
        block_n: Slots of a block; divides `engines.backends.torch_cuda.cache.SLOT_STEP`.
        warps: Of a program.
        stages: Blocks on their way at once.
        listed: Whether blocks that a tile does not see are left out, which takes a kernel once a pass.
    """

    block_m: int
    block_n: int
    warps: int
    stages: int
    listed: bool


def tiling_of(length: int, dtype: torch.dtype, padded_dim: int) -> Tiling:
    """Return how attention with `length` queries a row is cut."""
    if dtype == torch.float32:  # not by the matrix units: sums take registers
        return Tiling(16, 32, 4, 1, length > 16)
    if length <= 32:  # they see about the same, nearly everything
        return Tiling(16 if length <= 16 else 32, 64, 4, 3, False)
    if padded_dim > 64:  # fewer blocks in shared memory, and more threads for as many sums
        return Tiling(64 if length < 512 else 128, 64, 8, 2, True)
    return Tiling(64, 64, 4, 3, True) if length < 512 else Tiling(128, 64, 8, 3, True)


def splits_of(programs: int, warps: int) -> int:
    """Return in how many parts, a power of two, slots are attended over, where there are `programs` tiles in all."""
    fitting = max(1, min(MAX_SPLITS, FILLING[warps] // programs))
    return 1 << (fitting.bit_length() - 1)


def power_of_two(size: int) -> int:
    """Return the smallest power of two that is no less."""
    return 1 << (size - 1).bit_length()


class _Attention:
    """Attention of one pass: what all layers share."""

    def __init__(self, weights: TransformerWeights, arrived: Tensor, inputs: PassInputs, capacity: int) -> None:
        config, device = weights.config, inputs.tokens.device
        batch, length = inputs.tokens.shape
        self.config, self.inputs, self.capacity, self.length = config, inputs, capacity, length
        self.padded_dim = max(16, power_of_two(config.head_dim))
        self.tiling = tiling = tiling_of(length, weights.dtype, self.padded_dim)
        self.tiles = -(-length // tiling.block_m)
        self.places = batch * config.heads
        self.splits = splits_of(self.places * self.tiles, tiling.warps)
        if capacity % tiling.block_n:
            raise ValueError(f"slots: expected a multiple of {tiling.block_n}, got {capacity}")
        parts = self.places * self.tiles * self.splits if self.splits > 1 else 1
        self.sums = torch.empty(parts, tiling.block_m, self.padded_dim, device=device)
        self.stats = torch.empty(parts, 2, tiling.block_m, device=device)
        self.arrived = arrived
        # The kernel reads an entry ahead of those that count.
        self.listed_most = capacity // tiling.block_n + MAX_SPLITS if tiling.listed else 1
        self.blocks = torch.empty(batch, self.tiles, self.listed_most, dtype=torch.int32, device=device)
        self.counts = torch.empty(batch, self.tiles, dtype=torch.int32, device=device)
        if tiling.listed:
            flash_kernels.visible_kernel[(self.tiles, batch)](
                *(inputs.slot_ranks, inputs.positions, inputs.write_index, self.blocks, self.counts),
                *(length, self.tiles, capacity, self.listed_most),
                block_m=tiling.block_m,
                block_n=tiling.block_n,
                chunk=CHUNK,
                num_warps=4,
            )

    def __call__(self, joint: Tensor, keys: Tensor, values: Tensor, out: Tensor) -> None:
        """Attend with the queries of joint, Float[M, 3 D], over one layer's slots; write out, Float[M, D]."""
        config, tiling = self.config, self.tiling
        flash_kernels.flash_kernel[(self.tiles, self.places, self.splits)](
            *(joint, keys, values, self.inputs.slot_ranks, self.inputs.positions, self.inputs.write_index),
            *(self.blocks, self.counts, self.sums, self.stats, self.arrived, out),
            *(self.length, self.tiles, self.capacity, self.listed_most),
            config.head_dim**-0.5 * math.log2(math.e),
            heads=config.heads,
            head_dim=config.head_dim,
            padded_dim=self.padded_dim,
            q_stride=3 * config.dim,
            block_m=tiling.block_m,
            block_n=tiling.block_n,
            listed=tiling.listed,
            splits=self.splits,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )


class WidePass:
    """Passes of one model in which products go through the matrix units; any number of tokens, prefixes too."""

    def __init__(self, weights: TransformerWeights, device: torch.device) -> None:
        """Prepare passes.

        Args:
            weights: On the device.
            device: A GPU, or the CPU under Triton's interpreter.
        """
        self.weights = weights
        # Of tiles that are attended to in parts: never more than there are programs. Zeros between kernels.
        self.arrived = torch.zeros(max(FILLING.values()), dtype=torch.int32, device=device)

    def takes(self, rows: int) -> bool:
        """Whether a pass of so many rows, batch times tokens, can be made."""
        return rows > 0 and self.weights.config.head_dim <= WIDEST_HEAD

    def _norm(self, x: Tensor, added: Tensor | None, weight: Tensor, out: Tensor) -> None:
        config = self.weights.config
        row_kernels.norm_kernel[(len(x),)](
            *(x, x if added is None else added, weight, out, config.norm_eps),
            n=config.dim,
            padded_n=power_of_two(config.dim),
            added=added is not None,
            num_warps=4,
        )

    def run(self, keys: Tensor, values: Tensor, inputs: PassInputs, prefix: Tensor | None = None) -> Tensor:
        """Run a pass; return its logits, Float[B, T, V], in the model's precision.

        Args:
            keys: Float[layers, B, heads, capacity, head_dim]; the pass writes its own. Rows may be part of a larger
                batch's.
            values: The same.
            inputs: Of the pass; slots behind those that it writes are dead.
            prefix: As for `engines.backends.torch_cuda.eager.embed`.
        """
        weights, config = self.weights, self.weights.config
        batch, length = inputs.tokens.shape
        rows, capacity = batch * length, keys.shape[3]
        x = embed(weights, inputs, prefix).reshape(rows, config.dim)
        attend = _Attention(weights, self.arrived, inputs, capacity)
        normed, mixed = torch.empty_like(x), torch.empty_like(x)
        gated = torch.empty(rows, config.hidden, dtype=x.dtype, device=x.device)
        channels = min(ROTATED_CHANNELS, power_of_two(config.dim))
        sections = 3 if config.rotary else 2
        rotating = (-(-rows // ROTATED_ROWS), sections * -(-config.dim // channels))
        added: Tensor | None = None
        for number, layer in enumerate(weights.layers):
            own_keys, own_values = keys[number], values[number]
            self._norm(x, added, layer.attention_norm, normed)
            joint = F.linear(normed, layer.wqkv)
            row_kernels.rotate_kernel[rotating](
                *(joint, own_keys, own_values, inputs.positions, weights.cos, weights.sin, inputs.write_index),
                *(rows, length, capacity),
                heads=config.heads,
                head_dim=config.head_dim,
                rotary=config.rotary,
                block_r=ROTATED_ROWS,
                block_c=channels,
                num_warps=4,
            )
            attend(joint, own_keys, own_values, mixed)
            self._norm(x, F.linear(mixed, layer.wo), layer.ffn_norm, normed)
            row_kernels.gate_kernel[(rows, -(-config.hidden // GATED))](
                *(F.linear(normed, layer.w13), gated), n=config.hidden, block_n=GATED, num_warps=4
            )
            added = F.linear(gated, layer.w2)
        self._norm(x, added, weights.norm, normed)
        return F.linear(normed, weights.output).view(batch, length, config.vocabulary)

"""The kernels of a pass of few rows, each with what it is launched with."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.few_tuning import Tuning
from mulo_sd.engines.backends.torch_cuda.kernels import few_attention, few_ends, few_layer
from mulo_sd.engines.backends.torch_cuda.weights import LayerWeights, TransformerWeights
from mulo_sd.reference.transformer import TransformerConfig

# The widest piece of a row: 32 threads of 16 bytes in half precision.
WIDEST = 256
# A kernel's name and what launches it.
Launch = tuple[str, Callable[[], Any]]


class Buffers(NamedTuple):
    """What the kernels of a pass write for each other, of one shape of passes."""

    x: Tensor  # Float[M, D]
    scaled: Tensor  # Float32[M, D]
    squares: Tensor  # Float32[M, P]
    query: Tensor  # Float[M, D]
    mixed: Tensor  # Float[M, D]
    sums: Tensor  # Float32[B heads splits, T, padded head_dim]
    stats: Tensor  # Float32[B heads splits, T]
    own: Tensor  # Float[P, M, D]
    hidden: Tensor  # Float[M, F]
    logits: Tensor  # Float32[B, T, V]


def padded_head_dim(config: TransformerConfig) -> int:
    """Return the power of two that a head's channels are padded to."""
    return 1 << (config.head_dim - 1).bit_length()


def slots_at_once(slots: int, queries: int) -> int:
    """Return how many slots so many queries take in at once, a power of two: the more queries, the fewer slots."""
    return max(16, 1 << (slots // queries).bit_length() - 1)


class PassKernels:
    """The kernels of one pass, with the sizes and buffers that its layers share."""

    def __init__(
        self, weights: TransformerWeights, tuning: Tuning, chained: bool, buffers: Buffers, inputs: PassInputs
    ) -> None:
        """Prepare launches.

        Args:
            weights: On the device.
            tuning: Its numbers of programs and of parts are those to launch with, and not 0.
            chained: Whether a kernel starts while the one before it ends (programmatic dependent launch).
            buffers: Of the pass's shape.
            inputs: Of the pass, image tokens alone.
        """
        self.weights, self.tuning, self.chained = weights, tuning, chained
        self.buffers, self.inputs = buffers, inputs
        config = weights.config
        self.batch, self.length = inputs.tokens.shape
        self.block_k, self.block_hidden = math.gcd(config.dim, WIDEST), math.gcd(config.hidden, WIDEST)
        self.rows = {"rows": self.batch * self.length}
        self.sequences = {"length": self.length, "heads": config.heads, "head_dim": config.head_dim}
        self.parts = {"padded_dim": padded_head_dim(config), "splits": tuning.splits}

    def _launch(self, kernel: Any, **arguments: Any) -> Launch:
        options: dict[str, Any] = {"num_warps": self.tuning.warps}
        if self.chained:
            # What comes before the first was written by kernels that do not tell when they end.
            options["launch_pdl"] = kernel is not few_ends.embed_kernel
        if self.tuning.registers:
            options["maxnreg"] = self.tuning.registers
        arguments |= {"programs": self.tuning.programs, "chained": self.chained}
        name = kernel.__name__.removesuffix("_kernel")
        return name, partial(kernel[(self.tuning.programs,)], **arguments, **options)

    def _held(self, share: float, width: int, block: int) -> dict[str, int]:
        return {"block_k": block, "held": round(share * (width // block))}

    def embed(self) -> Launch:
        weights, buffers = self.weights, self.buffers
        return self._launch(
            few_ends.embed_kernel,
            tokens_ptr=self.inputs.tokens,
            positions_ptr=self.inputs.positions,
            embeddings_ptr=weights.embeddings,
            absolute_ptr=weights.embeddings if weights.absolute is None else weights.absolute,
            norm_ptr=weights.layers[0].attention_norm,
            x_ptr=buffers.x,
            scaled_ptr=buffers.scaled,
            squares_ptr=buffers.squares,
            dim=weights.config.dim,
            absolute=weights.absolute is not None,
            **self.rows,
        )

    def qkv(self, layer: LayerWeights, keys: Tensor, values: Tensor) -> Launch:
        weights, buffers, inputs = self.weights, self.buffers, self.inputs
        return self._launch(
            few_layer.qkv_kernel,
            scaled_ptr=buffers.scaled,
            squares_ptr=buffers.squares,
            w_ptr=layer.wqkv,
            positions_ptr=inputs.positions,
            write_ptr=inputs.write_index,
            cos_ptr=weights.cos,
            sin_ptr=weights.sin,
            query_ptr=buffers.query,
            key_ptr=keys,
            value_ptr=values,
            capacity=keys.shape[2],
            eps=weights.config.norm_eps,
            rotary=weights.config.rotary,
            **self.rows,
            **self.sequences,
            **self._held(self.tuning.held.qkv, weights.config.dim, self.block_k),
        )

    def attend(self, keys: Tensor, values: Tensor) -> Launch:
        buffers, inputs = self.buffers, self.inputs
        return self._launch(
            few_attention.attend_kernel,
            query_ptr=buffers.query,
            key_ptr=keys,
            value_ptr=values,
            ranks_ptr=inputs.slot_ranks,
            positions_ptr=inputs.positions,
            write_ptr=inputs.write_index,
            mixed_ptr=buffers.mixed,
            sums_ptr=buffers.sums,
            stats_ptr=buffers.stats,
            capacity=keys.shape[2],
            scale=self.weights.config.head_dim**-0.5,
            batch=self.batch,
            block_s=slots_at_once(self.tuning.block_s, self.length),
            **self.sequences,
            **self.parts,
        )

    def out(self, layer: LayerWeights) -> Launch:
        buffers = self.buffers
        return self._launch(
            few_layer.out_kernel,
            mixed_ptr=buffers.mixed,
            sums_ptr=buffers.sums,
            stats_ptr=buffers.stats,
            own_ptr=buffers.own,
            w_ptr=layer.wo,
            norm_ptr=layer.ffn_norm,
            x_ptr=buffers.x,
            scaled_ptr=buffers.scaled,
            squares_ptr=buffers.squares,
            **self.rows,
            **self.sequences,
            **self.parts,
            **self._held(self.tuning.held.out, self.weights.config.dim, self.block_k),
        )

    def swiglu(self, layer: LayerWeights) -> Launch:
        config, buffers = self.weights.config, self.buffers
        return self._launch(
            few_layer.swiglu_kernel,
            scaled_ptr=buffers.scaled,
            squares_ptr=buffers.squares,
            w_ptr=layer.w13,
            hidden_ptr=buffers.hidden,
            eps=config.norm_eps,
            dim=config.dim,
            hidden=config.hidden,
            **self.rows,
            **self._held(self.tuning.held.swiglu, config.dim, self.block_k),
        )

    def down(self, layer: LayerWeights, next_norm: Tensor) -> Launch:
        config, buffers = self.weights.config, self.buffers
        return self._launch(
            few_layer.down_kernel,
            hidden_ptr=buffers.hidden,
            w_ptr=layer.w2,
            norm_ptr=next_norm,
            x_ptr=buffers.x,
            scaled_ptr=buffers.scaled,
            squares_ptr=buffers.squares,
            dim=config.dim,
            hidden=config.hidden,
            **self.rows,
            **self._held(self.tuning.held.down, config.hidden, self.block_hidden),
        )

    def head(self) -> Launch:
        config, buffers = self.weights.config, self.buffers
        return self._launch(
            few_ends.head_kernel,
            scaled_ptr=buffers.scaled,
            squares_ptr=buffers.squares,
            w_ptr=self.weights.output,
            logits_ptr=buffers.logits,
            eps=config.norm_eps,
            dim=config.dim,
            vocabulary=config.vocabulary,
            block_k=self.block_k,
            block=self.tuning.block_head,
            **self.rows,
        )

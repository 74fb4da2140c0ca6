"""A pass in fused kernels: embedding, five kernels a layer, and the head."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.eager import embed
from mulo_sd.engines.backends.torch_cuda.few_rows import FewRows
from mulo_sd.engines.backends.torch_cuda.kernels import separate as kernels
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights

# Programs of attention on the whole GPU, about four on each multiprocessor.
ATTENTION_PROGRAMS = 528
MAX_SPLITS = 16
SLOT_BLOCK = 64
# The widest piece of a row: 32 threads of 16 bytes in half precision.
WIDEST = 256


class Blocks(NamedTuple):
    """Rows of a tile of weights by matrix, and as many warps: enough programs to keep all multiprocessors busy.

    A program of qkv, swiglu or head has two tiles, one of out or down has one.
    """

    qkv: int = 4
    out: int = 2
    swiglu: int = 4
    down: int = 2
    head: int = 4


DEFAULT_BLOCKS = Blocks()


class _Scratch(NamedTuple):
    scaled: Tensor  # Float32[M, D]
    query: Tensor  # Float[M, D]
    mixed: Tensor  # Float[M, D]
    hidden: Tensor  # Float[M, F]
    sums: Tensor  # Float32[B heads splits, T, padded head_dim]
    stats: Tensor  # Float32[B heads splits, 2, T]
    arrived: Tensor  # Int32[B heads]
    logits: Tensor  # Float32[B, T, V]


def dividing(size: int, most: int) -> int:
    """Return the largest power of two that divides a size, `most` at most."""
    return math.gcd(size, most)


def splits_of(programs: int) -> int:
    """Return in how many parts, a power of two, slots are attended over, where there are `programs` heads in all."""
    fitting = max(1, min(MAX_SPLITS, ATTENTION_PROGRAMS // programs))
    return 1 << (fitting.bit_length() - 1)


class FusedPass:
    """The fused kernels of one model; buffers between them are made once for each shape.

    Attributes:
        blocks: Sizes that may be changed before the first pass, powers of two.
        few: What makes passes of very few rows instead; None where these kernels do.
    """

    def __init__(
        self, weights: TransformerWeights, device: torch.device, pdl: bool = False, blocks: Blocks = DEFAULT_BLOCKS
    ) -> None:
        """Prepare passes.

        Args:
            weights: On the device.
            device: A GPU, or the CPU under Triton's interpreter.
            pdl: Programmatic dependent launch.
            blocks: As above.
        """
        self.weights, self.device, self.pdl, self.blocks = weights, device, pdl, blocks
        self.few: FewRows | None = None
        self.scratch: dict[tuple[int, int], _Scratch] = {}

    def takes(self, rows: int) -> bool:
        """Whether a pass of so many rows, batch times tokens, is one for these kernels."""
        return rows <= kernels.GEMV_ROWS

    def trouble(self) -> str | None:
        """Return what went wrong on the device in any pass so far, if anything did."""
        return None if self.few is None else self.few.trouble()

    def _buffers(self, batch: int, length: int) -> _Scratch:
        if (batch, length) not in self.scratch:
            config, dtype, rows = self.weights.config, self.weights.dtype, batch * length
            parts = batch * config.heads * splits_of(batch * config.heads)

            def empty(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
                return torch.empty(shape, dtype=kind, device=self.device)

            self.scratch[batch, length] = _Scratch(
                empty(rows, config.dim),
                empty(rows, config.dim, kind=dtype),
                empty(rows, config.dim, kind=dtype),
                empty(rows, config.hidden, kind=dtype),
                empty(parts, length, self._padded_head_dim),
                empty(parts, 2, length),
                torch.zeros(batch * config.heads, dtype=torch.int32, device=self.device),
                empty(batch, length, config.vocabulary),
            )
        return self.scratch[batch, length]

    @property
    def _padded_head_dim(self) -> int:
        return max(16, 1 << (self.weights.config.head_dim - 1).bit_length())

    def run(self, keys: Tensor, values: Tensor, inputs: PassInputs) -> Tensor:
        """Run a pass; return its logits, Float32[B, T, V], which the next pass of that shape overwrites.

        Args:
            keys: Float[layers, B, heads, capacity, head_dim]; the pass writes its own.
            values: The same.
            inputs: Of the pass, image tokens alone.
        """
        weights, config, blocks = self.weights, self.weights.config, self.blocks
        batch, length = inputs.tokens.shape
        if self.few is not None and self.few.takes(batch * length):
            return self.few.run(keys, values, inputs)
        rows, capacity = batch * length, keys.shape[3]
        buffers, x = self._buffers(batch, length), embed(weights, inputs).view(rows, config.dim)
        splits = splits_of(batch * config.heads)
        launch: dict[str, Any] = {"launch_pdl": True} if self.pdl else {}

        def sizes(outputs: int, wanted: int, width: int, normed: bool = True) -> dict[str, Any]:
            block = dividing(outputs, wanted)
            found: dict[str, Any] = {"block_n": block, "block_k": dividing(width, WIDEST)}
            padded = {"padded_k": 1 << (width - 1).bit_length()} if normed else {}
            return found | padded | {"pdl": self.pdl, "num_warps": block} | launch

        qkv = sizes(config.dim // 2, blocks.qkv, config.dim)
        out = sizes(config.dim, blocks.out, config.dim, normed=False)
        down = sizes(config.dim, blocks.down, config.hidden, normed=False)
        swiglu = sizes(config.hidden, blocks.swiglu, config.dim)
        head = sizes(config.vocabulary // 2, blocks.head, config.dim)
        torch.mul(x, weights.layers[0].attention_norm.float(), out=buffers.scaled)
        cos, sin = F.embedding(inputs.positions, weights.cos), F.embedding(inputs.positions, weights.sin)
        norms = [*(layer.attention_norm for layer in weights.layers[1:]), weights.norm]
        for number, (layer, next_norm) in enumerate(zip(weights.layers, norms, strict=True)):
            kernels.qkv_kernel[(3 * config.dim // (2 * qkv["block_n"]),)](
                *(x, buffers.scaled, layer.wqkv, buffers.query, keys[number], values[number]),
                *(cos, sin, inputs.write_index, capacity, config.norm_eps),
                rows=rows,
                length=length,
                heads=config.heads,
                head_dim=config.head_dim,
                rotary=config.rotary,
                # What the first one reads before it waits was written by kernels that do not tell when they end.
                **(qkv | ({"launch_pdl": False} if self.pdl and number == 0 else {})),
            )
            kernels.attention_kernel[(splits, batch * config.heads)](
                *(buffers.query, keys[number], values[number], inputs.slot_ranks, inputs.positions),
                *(inputs.write_index, buffers.sums, buffers.stats, buffers.arrived, buffers.mixed),
                *(capacity, config.head_dim**-0.5),
                length=length,
                heads=config.heads,
                head_dim=config.head_dim,
                padded_dim=self._padded_head_dim,
                splits=splits,
                block_s=SLOT_BLOCK,
                pdl=self.pdl,
                num_warps=4,
                **launch,
            )
            kernels.add_kernel[(config.dim // out["block_n"],)](
                *(buffers.mixed, layer.wo, x, layer.ffn_norm, buffers.scaled),
                rows=rows,
                n=config.dim,
                k=config.dim,
                **out,
            )
            kernels.swiglu_kernel[(config.hidden // swiglu["block_n"],)](
                *(x, buffers.scaled, layer.w13, buffers.hidden, config.norm_eps),
                rows=rows,
                n=config.hidden,
                k=config.dim,
                **swiglu,
            )
            kernels.add_kernel[(config.dim // down["block_n"],)](
                *(buffers.hidden, layer.w2, x, next_norm, buffers.scaled),
                rows=rows,
                n=config.dim,
                k=config.hidden,
                **down,
            )
        kernels.head_kernel[(config.vocabulary // (2 * head["block_n"]),)](
            *(x, buffers.scaled, weights.output, buffers.logits, config.norm_eps),
            rows=rows,
            n=config.vocabulary,
            k=config.dim,
            **head,
        )
        return buffers.logits

"""Passes of few rows: one kernel for all of a pass, or its phases one after another, whichever is asked for."""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.kernels import few_rows as kernels
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights

Way = Literal["persistent", "chained"]
MAX_ROWS = 4
# Of a sequence, in one kernel: with more, it takes longer to compile than it is worth.
MAX_TOKENS = 2
# Of the outputs that a program makes at once; more would not fit into registers.
MAX_BLOCK = 64
# The widest piece of a row: 32 threads of 16 bytes in half precision.
WIDEST = 256
PHASES = {
    "embed": kernels.EMBED,
    "qkv": kernels.QKV,
    "attend": kernels.ATTEND,
    "out": kernels.OUT,
    "swiglu": kernels.SWIGLU,
    "down": kernels.DOWN,
    "head": kernels.HEAD,
}


class Held(NamedTuple):
    """How much of its weights a program loads before it waits, of a matrix or of a pair: a share."""

    qkv: float = 1.0
    out: float = 1.0
    swiglu: float = 0.6
    down: float = 0.6


class Settings(NamedTuple):
    """What may be tuned.

    Attributes:
        programs: One on each multiprocessor; 0 chooses their number by the model's sizes and the GPU.
        warps: Of a program.
        splits: Parts that slots are attended over in; 0 takes as many as there are programs for.
        block_s: Slots taken in at once.
        block_head: Outputs of the head made at once.
        held: As above.
        fetch: Whether weights are fetched into L2 ahead (Hopper and later).
        cooperative: Whether the driver is told that programs wait for each other.
        registers: Of a thread, at most; 0 leaves it to the compiler.
    """

    programs: int = 0
    warps: int = 8
    splits: int = 0
    block_s: int = 128
    block_head: int = 32
    held: Held = Held()
    fetch: bool = True
    cooperative: bool = True
    registers: int = 0


# Of a multiprocessor's registers, a program of a chain takes half: the next one's is there already, and loads.
DEFAULTS: dict[Way, Settings] = {
    "persistent": Settings(),
    "chained": Settings(held=Held(0.6, 1.0, 0.2, 0.5), fetch=False, registers=128),
}


class _Buffers(NamedTuple):
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
    counter: Tensor  # Int64[1]
    error: Tensor  # Int32[1]


def best_grid(sizes: tuple[tuple[int, int], ...], most: int) -> int:
    """Return how many programs share outputs most evenly: no more than that takes, `most` at most.

    Args:
        sizes: Outputs (pairs of them where they come in pairs) and inputs of each matrix.
        most: Multiprocessors.
    """

    def longest(programs: int) -> int:
        return sum(-(-outputs // programs) * inputs for outputs, inputs in sizes)

    return min(range(max(1, most * 3 // 4), most + 1), key=longest)


class FewRows:
    """Passes of at most four rows with one model; buffers are made once for each shape."""

    def __init__(
        self,
        weights: TransformerWeights,
        device: torch.device,
        way: Way = "persistent",
        settings: Settings | None = None,
        pdl: bool = True,
    ) -> None:
        """Prepare passes.

        Args:
            weights: On the device, all of their memory aligned to 16 bytes.
            device: A GPU, or the CPU under Triton's interpreter.
            way: "persistent": one kernel; "chained": one after another.
            settings: None takes the defaults.
            pdl: Whether a chained kernel starts while the one before it ends.

        Raises:
            ValueError: The model has sizes that these kernels do not take.
        """
        self.weights, self.device, self.way = weights, device, way
        self.settings = settings or DEFAULTS[way]
        on_gpu = device.type == "cuda"
        self.pdl = pdl and on_gpu and torch.cuda.get_device_capability(device) >= (9, 0)
        self.fetch = self.settings.fetch and self.pdl
        config = weights.config
        self.grid = self.settings.programs
        if not self.grid:
            most = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1
            sizes = ((3 * config.dim // 2, 2 * config.dim), (config.dim, config.dim + config.hidden),
                     (config.hidden, 2 * config.dim))  # fmt: skip
            self.grid = best_grid(sizes, most)
        widest = max(3 * config.dim // 2, config.hidden)
        if on_gpu and -(-widest // self.grid) > MAX_BLOCK:
            raise ValueError(f"{widest} outputs: expected at most {MAX_BLOCK} for each of {self.grid} programs")
        self.table = self._addresses()
        self.buffers: dict[tuple[int, int], _Buffers] = {}

    def _addresses(self) -> Tensor:
        weights = self.weights
        empty = torch.empty(0, dtype=weights.dtype, device=self.device)
        rows = [
            (layer.attention_norm, layer.wqkv, layer.wo, layer.ffn_norm, layer.w13, layer.w2)
            for layer in weights.layers
        ]
        rows.append((weights.norm, weights.output, empty, empty, empty, empty))
        numbers = [[tensor.data_ptr() for tensor in row] for row in rows]
        if any(number % 16 for row in numbers for number in row):
            raise ValueError("weights whose memory is not aligned: expected multiples of 16 bytes")
        return torch.tensor(numbers, dtype=torch.int64).to(self.device)

    def takes(self, rows: int) -> bool:
        """Whether a pass of so many rows, batch times tokens, is one for these kernels."""
        return rows <= MAX_ROWS

    def trouble(self) -> str | None:
        """Return what went wrong on the device in any pass so far, if anything did; waits for it."""
        if any(int(buffers.error) for buffers in self.buffers.values()):
            return "programs waited for each other in vain"
        return None

    def _splits(self, heads: int) -> int:
        return self.settings.splits or max(1, min(8, self.grid // heads))

    @property
    def _padded_head_dim(self) -> int:
        return 1 << (self.weights.config.head_dim - 1).bit_length()

    def _buffers(self, batch: int, length: int) -> _Buffers:
        if (batch, length) not in self.buffers:
            config, dtype, rows = self.weights.config, self.weights.dtype, batch * length
            parts = batch * config.heads * self._splits(batch * config.heads)

            def zeros(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
                return torch.zeros(shape, dtype=kind, device=self.device)

            self.buffers[batch, length] = _Buffers(
                zeros(rows, config.dim, kind=dtype),
                zeros(rows, config.dim),
                zeros(rows, self.grid),
                zeros(rows, config.dim, kind=dtype),
                zeros(rows, config.dim, kind=dtype),
                zeros(parts, length, self._padded_head_dim),
                zeros(parts, length),
                zeros(self.grid, rows, config.dim, kind=dtype),
                zeros(rows, config.hidden, kind=dtype),
                zeros(batch, length, config.vocabulary),
                zeros(1, kind=torch.int64),
                zeros(1, kind=torch.int32),
            )
        return self.buffers[batch, length]

    def run(self, keys: Tensor, values: Tensor, inputs: PassInputs) -> Tensor:
        """Run a pass; return its logits, Float32[B, T, V], which the next pass of that shape overwrites.

        Args:
            keys: Float[layers, B, heads, capacity, head_dim], a layer's all together; the pass writes its own.
            values: The same, layers as far apart.
            inputs: Of the pass, image tokens alone.
        """
        layers = self.weights.config.layers
        if self.way == "persistent" and inputs.tokens.shape[1] <= MAX_TOKENS:
            self.launch(keys, values, inputs, kernels.ALL, 0, layers)
        else:
            self.launch(keys, values, inputs, kernels.EMBED, 0, 0)
            for layer in range(layers):
                for name in ("qkv", "attend", "out", "swiglu", "down"):
                    self.launch(keys, values, inputs, PHASES[name], layer, layer + 1)
            self.launch(keys, values, inputs, kernels.HEAD, layers, layers)
        return self._buffers(*inputs.tokens.shape).logits

    def launch(
        self, keys: Tensor, values: Tensor, inputs: PassInputs, phase: int, first_layer: int, last_layer: int
    ) -> Any:
        """Launch one phase of some layers, or all of a pass (`persistent_kernels.ALL`); return the compiled kernel."""
        weights, config, settings = self.weights, self.weights.config, self.settings
        batch, length = inputs.tokens.shape
        buffers = self._buffers(batch, length)
        block_k, block_hidden = math.gcd(config.dim, WIDEST), math.gcd(config.hidden, WIDEST)
        steps, steps_hidden = config.dim // block_k, config.hidden // block_hidden
        alone = phase == kernels.ALL
        options: dict[str, Any] = {"num_warps": settings.warps}
        way = kernels.APART
        if alone and self.grid > 1:
            way = kernels.COUNTED
            if settings.cooperative:
                options["launch_cooperative_grid"] = True
        elif self.pdl and not alone:
            way = kernels.CHAINED
            # What comes before the first was written by kernels that do not tell when they end.
            options["launch_pdl"] = phase != kernels.EMBED
        if settings.registers:
            options["maxnreg"] = settings.registers
        held = settings.held
        return kernels.pass_kernel[(self.grid,)](
            *(self.table, inputs.tokens, inputs.positions, inputs.slot_ranks, inputs.write_index, weights.embeddings),
            *(weights.embeddings if weights.absolute is None else weights.absolute, weights.cos, weights.sin),
            *(keys, values, *buffers, keys.stride(0), keys.shape[3], first_layer, last_layer),
            *(config.norm_eps, config.head_dim**-0.5),
            way=way,
            phase=phase,
            programs=self.grid,
            rows=batch * length,
            length=length,
            heads=config.heads,
            head_dim=config.head_dim,
            padded_dim=self._padded_head_dim,
            hidden=config.hidden,
            vocabulary=config.vocabulary,
            rotary=config.rotary,
            absolute=weights.absolute is not None,
            splits=self._splits(batch * config.heads),
            block_s=max(16, settings.block_s // length),
            block_k=block_k,
            block_hidden=block_hidden,
            block_head=settings.block_head,
            held_qkv=round(held.qkv * steps),
            held_out=round(held.out * steps),
            held_swiglu=round(held.swiglu * steps),
            held_down=round(held.down * steps_hidden),
            fetch=self.fetch and config.dim % 8 == 0 and config.hidden % 8 == 0,
            **options,
        )

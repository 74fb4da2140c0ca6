"""Passes of few rows: seven small kernels, five of them a layer, one started while the one before it ends."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.few_launch import Buffers, Launch, PassKernels, padded_head_dim
from mulo_sd.engines.backends.torch_cuda.few_tuning import DEFAULT_TUNING, Tuning
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights

MAX_ROWS = 4
# Of the outputs that a program makes at once; more would not fit into registers.
MAX_BLOCK = 64
MAX_SPLITS = 8


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
    """Passes of at most four rows with one model; buffers are made once for each shape.

    Attributes:
        programs: Of each kernel.
        chained: Whether a kernel starts while the one before it ends (programmatic dependent launch).
    """

    def __init__(
        self, weights: TransformerWeights, device: torch.device, pdl: bool = True, tuning: Tuning = DEFAULT_TUNING
    ) -> None:
        """Prepare passes.

        Args:
            weights: On the device.
            device: A GPU, or the CPU under Triton's interpreter.
            pdl: Whether kernels are chained where the GPU can (Hopper and later).
            tuning: As above.

        Raises:
            ValueError: The model has sizes that these kernels do not take.
        """
        self.weights, self.device, self.tuning = weights, device, tuning
        on_gpu = device.type == "cuda"
        self.chained = pdl and on_gpu and torch.cuda.get_device_capability(device) >= (9, 0)
        config = weights.config
        self.programs = tuning.programs
        if not self.programs:
            most = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1
            sizes = ((3 * config.dim // 2, 2 * config.dim), (config.dim, config.dim + config.hidden),
                     (config.hidden, 2 * config.dim))  # fmt: skip
            self.programs = best_grid(sizes, most)
        widest = max(3 * config.dim // 2, config.hidden)
        if on_gpu and -(-widest // self.programs) > MAX_BLOCK:
            raise ValueError(f"{widest} outputs: expected at most {MAX_BLOCK} for each of {self.programs} programs")
        self.buffers: dict[tuple[int, int], Buffers] = {}

    def takes(self, rows: int) -> bool:
        """Whether a pass of so many rows, batch times tokens, is one for these kernels."""
        return rows <= MAX_ROWS

    def splits(self, batch: int) -> int:
        """Return in how many parts a head's slots are attended over."""
        fitting = self.programs // (batch * self.weights.config.heads)
        return self.tuning.splits or max(1, min(MAX_SPLITS, fitting))

    def _buffers(self, batch: int, length: int) -> Buffers:
        if (batch, length) not in self.buffers:
            config, dtype, rows = self.weights.config, self.weights.dtype, batch * length
            parts = batch * config.heads * self.splits(batch)

            def zeros(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
                return torch.zeros(shape, dtype=kind, device=self.device)

            self.buffers[batch, length] = Buffers(
                x=zeros(rows, config.dim, kind=dtype),
                scaled=zeros(rows, config.dim),
                squares=zeros(rows, self.programs),
                query=zeros(rows, config.dim, kind=dtype),
                mixed=zeros(rows, config.dim, kind=dtype),
                sums=zeros(parts, length, padded_head_dim(config)),
                stats=zeros(parts, length),
                own=zeros(self.programs, rows, config.dim, kind=dtype),
                hidden=zeros(rows, config.hidden, kind=dtype),
                logits=zeros(batch, length, config.vocabulary),
            )
        return self.buffers[batch, length]

    def run(self, keys: Tensor, values: Tensor, inputs: PassInputs) -> Tensor:
        """Run a pass; return its logits, Float32[B, T, V], which the next pass of that shape overwrites.

        Args:
            keys: Float[layers, B, heads, capacity, head_dim], a layer's all together; the pass writes its own.
            values: The same.
            inputs: Of the pass, image tokens alone.
        """
        for _, launch in self.launches(keys, values, inputs):
            launch()
        return self._buffers(*inputs.tokens.shape).logits

    def launches(self, keys: Tensor, values: Tensor, inputs: PassInputs) -> Iterator[Launch]:
        """Yield all kernels of a pass, as `run` takes it, in order: embed; qkv, attend, out, swiglu, down; head."""
        weights, (batch, length) = self.weights, inputs.tokens.shape
        tuning = self.tuning._replace(programs=self.programs, splits=self.splits(batch))
        kernels = PassKernels(weights, tuning, self.chained, self._buffers(batch, length), inputs)
        yield kernels.embed()
        next_norms = [*(layer.attention_norm for layer in weights.layers[1:]), weights.norm]
        for layer, next_norm, own_keys, own_values in zip(weights.layers, next_norms, keys, values, strict=True):
            yield kernels.qkv(layer, own_keys, own_values)
            yield kernels.attend(own_keys, own_values)
            yield kernels.out(layer)
            yield kernels.swiglu(layer)
            yield kernels.down(layer, next_norm)
        yield kernels.head()

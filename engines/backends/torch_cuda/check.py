"""Kernels of our own against torch's operations, on random passes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.cache import DEAD, SLOT_STEP, PassInputs, rounded_up
from mulo_sd.engines.backends.torch_cuda.eager import run_eagerly
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights

# Of the norm of the logits; rounding in another order, a few dozen layers deep.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 2e-1}
SEED = 20260112
# Rows and tokens of the passes that are compared: one by one with guidance, and one of every way in which attention is
# cut. Where a grid has fewer cells, those.
SHAPES = ((2, 1), (2, 4), (2, 24), (1, 200), (2, 600))
# The same pass once more has to give the same bits.
REPEATS = 3


class Comparison(NamedTuple):
    """How far the kernels are off.

    Attributes:
        error: The norm of the difference over the norm of the logits, the largest of the passes compared; that of
            keys and values where it is larger; infinite where the same pass did not give the same twice.
        tolerance: What is allowed.
    """

    error: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.error <= self.tolerance  # not a number compares as False


def _distance(ours: Tensor, expected: Tensor) -> float:
    ours, expected = ours.float(), expected.float()
    return float((ours - expected).norm() / expected.norm().clamp(min=1e-6))


def random_inputs(
    weights: TransformerWeights, batch: int, length: int, filled: int, capacity: int, generator: torch.Generator
) -> PassInputs:
    """Return the inputs of a pass that feeds cells in the middle of the grid; some of the slots before are dead.

    Args:
        weights: The model's.
        batch: Rows.
        length: Tokens a row.
        filled: Slots before the pass; the last row has one less, so that rows differ.
        capacity: Slots that there are.
        generator: On the CPU: the only source of randomness.
    """
    config, device = weights.config, weights.output.device
    tokens = torch.randint(config.vocabulary, (batch, length), generator=generator)
    first = config.prefix_length + int(
        torch.randint(max(1, config.grid_height * config.grid_width - length), (1,), generator=generator)
    )
    first = min(first, config.sequence_length - length)
    positions = (first + torch.arange(length)).expand(batch, length).contiguous()
    ranks = torch.full((batch, capacity), DEAD)
    before = torch.randint(first + 1, (batch, filled), generator=generator)
    ranks[:, :filled] = before.where(torch.rand(batch, filled, generator=generator) < 0.8, DEAD)
    write_index = torch.full((batch,), filled)
    write_index[-1] -= min(1, filled)
    for row in range(batch):
        start = int(write_index[row])
        ranks[row, start:] = DEAD
        ranks[row, start : start + length] = positions[row]
    put = [part.to(device, torch.int32) for part in (tokens, positions, ranks, write_index)]
    return PassInputs(*put)


def compare_kernels(weights: TransformerWeights, kernels: Sequence[Any], slots: int) -> Comparison:
    """Run random passes with our kernels and with torch's operations over the same random keys and values.

    Args:
        weights: The model's.
        kernels: What makes its passes (`engines.backends.torch_cuda.runner.Runner.kernels`): of each pass, the first
            that takes it.
        slots: Of its caches.
    """
    config, device, dtype = weights.config, weights.output.device, weights.dtype
    generator = torch.Generator().manual_seed(SEED)
    largest, filled = 0.0, slots // 3
    for batch, most in SHAPES:
        length = min(most, config.grid_height * config.grid_width)
        chosen = next((one for one in kernels if one.takes(batch * length)), None)
        if chosen is None:  # the runner has torch make such a pass
            continue
        capacity = rounded_up(filled + length, SLOT_STEP)
        shape = (config.layers, batch, config.heads, capacity, config.head_dim)
        on_device = torch.Generator(device).manual_seed(SEED + length)
        caches = [torch.randn(shape, generator=on_device, device=device).to(dtype) for _ in range(2)]
        inputs = random_inputs(weights, batch, length, filled, capacity, generator)
        others = [cache.clone() for cache in caches]
        expected = run_eagerly(weights, caches[0], caches[1], inputs, capacity)
        logits = chosen.run(others[0], others[1], inputs).clone()
        for _ in range(REPEATS):  # a program that does not wait for another shows up as a bit, sooner or later
            if not torch.equal(chosen.run(others[0], others[1], inputs), logits):
                return Comparison(float("inf"), TOLERANCE[dtype])
        errors = [_distance(logits, expected), *map(_distance, others, caches)]
        largest = max([largest, *errors], key=lambda error: float("inf") if error != error else error)
    return Comparison(largest, TOLERANCE[dtype])

"""Weights by recipe: the fixtures hold what the published code answered for them, and not the weights themselves."""

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor


def uniform(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return float32 in [-1, 1): the top 24 bits of PCG64's raw stream, seeded with crc32(name) + seed."""
    raw = np.random.PCG64(zlib.crc32(name.encode()) + seed).random_raw(int(np.prod(shape)))
    values = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    return torch.from_numpy(values).reshape(shape)


def weights_by_recipe(shapes: Mapping[str, list[int]], seed: int) -> dict[str, Tensor]:
    """Return a whole state dict under the published names."""
    made = {}
    for name, sizes in shapes.items():
        shape = tuple(sizes)
        if name.endswith("codebook_used"):
            made[name] = torch.zeros(shape)
            continue
        values = uniform(name, shape, seed)
        wide = len(shape) >= 2
        if wide and not name.endswith(("abs_pe", "uncond_embedding")) and "embed" not in name:
            values = values * (3.0 / values[0].numel()) ** 0.5
        elif not wide:
            values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
        made[name] = values
    return made


@pytest.fixture(scope="session")
def make_weights() -> Callable[[Mapping[str, list[int]], int], dict[str, Tensor]]:
    """The recipe."""
    return weights_by_recipe

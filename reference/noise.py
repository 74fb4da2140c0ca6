"""Counter-based noise: the same integers on every machine, in any order (RNG-1, RNG-2)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.reference.numbers import seed_number

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


# Model numbers of what drafts on the target's own grid, behind those of all coarser drafters (RNG-2).
HEAD, BLOCK = 9, 10


def sample_stream(model: int) -> int:
    """Return the stream from which model number `model` draws samples; 0 is the target, 1 drafts for it (RNG-2)."""
    return 2 * model


def acceptance_stream(model: int) -> int:
    """Return the stream from which model number `model` draws acceptances (RNG-2)."""
    return 2 * model + 1


def philox(counters: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Apply Philox4x32-10 to 32-bit words held in 64 bits: UInt64[n, 4] -> UInt64[n, 4]."""
    c0, c1, c2, c3 = (counters[:, word].copy() for word in range(4))
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = np.uint64(_MULTIPLIERS[0]) * c0, np.uint64(_MULTIPLIERS[1]) * c2
        c0, c1, c2, c3 = (
            (product1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) % 2**32, (k1 + _KEY_STEPS[1]) % 2**32
    return np.stack([c0, c1, c2, c3], axis=1)


# Which prediction of a token this is, from 0 on: one number for all positions, or one of each.
Attempt = int | Sequence[int]


def random_words(
    seed: int, stream: int, positions: Sequence[int], count: int, attempt: Attempt = 0
) -> NDArray[np.uint64]:
    """Return the first `count` random 32-bit words of each position, UInt64[n, count] (RNG-1).

    Raises:
        ValueError: the seed is not in 0..2^64 - 1.
    """
    seed = seed_number(seed)
    blocks = -(-count // 4)
    counters = np.zeros((len(positions), blocks, 4), dtype=np.uint64)
    counters[:, :, 0] = np.arange(blocks, dtype=np.uint64)
    counters[:, :, 1] = np.asarray(positions, dtype=np.uint64)[:, None]
    counters[:, :, 2] = stream
    counters[:, :, 3] = np.asarray(attempt, dtype=np.uint64).reshape(-1, 1)
    words = philox(counters.reshape(-1, 4), (seed % 2**32, seed // 2**32))
    return words.reshape(len(positions), blocks * 4)[:, :count]


def uniform_noise(seed: int, stream: int, positions: Sequence[int], count: int = 1, attempt: Attempt = 0) -> Tensor:
    """Return uniform noise in (0, 1), Float64[n, count]: (x + 0.5) / 2^32 (RNG-1)."""
    words = random_words(seed, stream, positions, count, attempt)
    return torch.from_numpy((words.astype(np.float64) + 0.5) / 2.0**32)


def gumbel_noise(seed: int, stream: int, positions: Sequence[int], vocabulary: int, attempt: Attempt = 0) -> Tensor:
    """Return Gumbel noise for sampling, Float32[n, vocabulary]: -log(-log U), computed in float64 (RNG-1)."""
    uniform = uniform_noise(seed, stream, positions, vocabulary, attempt)
    return (-torch.log(-torch.log(uniform))).float()

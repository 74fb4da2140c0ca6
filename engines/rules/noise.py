"""Counter-based noise on the host (RNG-1, RNG-2); the engines' twin of `reference.noise`."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# Which prediction of a token this is, from 0 on: one number for all positions, or one of each.
Attempt = int | Sequence[int]
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEP_0, _KEY_STEP_1 = 0x9E3779B9, 0xBB67AE85


# Model numbers of what drafts on the target's own grid, behind those of all coarser drafters (RNG-2).
HEAD, BLOCK = 9, 10


def sample_stream(model: int) -> int:
    """Return the stream from which model number `model` draws samples (RNG-2)."""
    return 2 * model


def acceptance_stream(model: int) -> int:
    """Return the stream from which model number `model` draws acceptances (RNG-2)."""
    return 2 * model + 1


def uniform_noise(
    seed: int, stream: int, positions: NDArray[np.int64], count: int = 1, attempt: Attempt = 0
) -> NDArray[np.float64]:
    """Return uniform noise in (0, 1), Float64[n, count] (RNG-1).

    Args:
        seed: 0..2^64 - 1.
        stream: RNG-2.
        positions: Int[n], raster positions.
        count: How many numbers for each position.
        attempt: Which prediction of the token this is, from 0 on; one number for all positions, or one of each.
    """
    shape = (len(positions), -(-count // 4))
    c0 = np.broadcast_to(np.arange(shape[1], dtype=np.uint64), shape)
    c1 = np.broadcast_to(positions.astype(np.uint64)[:, None], shape)
    c2 = np.full(shape, stream, dtype=np.uint64)
    c3 = np.broadcast_to(np.asarray(attempt, dtype=np.uint64).reshape(-1, 1), shape)
    key_0, key_1 = seed % 2**32, seed // 2**32
    for _ in range(_ROUNDS):
        product_0, product_1 = _MULTIPLIER_0 * c0, _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _SHIFT) ^ c1 ^ np.uint64(key_0),
            product_1 & _LOW,
            (product_0 >> _SHIFT) ^ c3 ^ np.uint64(key_1),
            product_0 & _LOW,
        )
        key_0, key_1 = (key_0 + _KEY_STEP_0) % 2**32, (key_1 + _KEY_STEP_1) % 2**32
    words = np.stack([c0, c1, c2, c3], axis=-1).reshape(len(positions), -1)[:, :count]
    uniform: NDArray[np.float64] = (words.astype(np.float64) + 0.5) / 2.0**32
    return uniform


def gumbel_noise(
    seed: int, stream: int, positions: NDArray[np.int64], vocabulary: int, attempt: Attempt = 0
) -> NDArray[np.float32]:
    """Return Gumbel noise for sampling, Float32[n, vocabulary]; arguments as for `uniform_noise` (RNG-1)."""
    uniform = uniform_noise(seed, stream, positions, vocabulary, attempt)
    gumbel: NDArray[np.float32] = (-np.log(-np.log(uniform))).astype(np.float32)
    return gumbel


class NoiseSource:
    """The Gumbel noise of one stream of one image, computed in blocks of positions when first needed."""

    def __init__(self, seed: int, stream: int, cells: int, vocabulary: int, block: int = 32) -> None:
        self.seed, self.stream, self.cells, self.vocabulary, self.block = seed, stream, cells, vocabulary, block
        self.blocks: dict[int, NDArray[np.float32]] = {}

    def _row(self, cell: int) -> NDArray[np.float32]:
        number = cell // self.block
        if number not in self.blocks:
            positions = np.arange(number * self.block, min((number + 1) * self.block, self.cells))
            self.blocks[number] = gumbel_noise(self.seed, self.stream, positions, self.vocabulary)
        row: NDArray[np.float32] = self.blocks[number][cell % self.block]
        return row

    def rows(self, cells: Iterable[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return Float32[n, vocabulary] for n cells."""
        return np.stack([self._row(cell) for cell in (cells.tolist() if isinstance(cells, np.ndarray) else cells)])

"""Counter-based noise on the host (RNG-1, RNG-2); the engines' twin of `reference.noise`."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.philox import philox_words

# Which prediction of a token this is, from 0 on: one number for all positions, or one of each.
Attempt = int | Sequence[int]

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
    attempts = np.broadcast_to(np.asarray(attempt, dtype=np.int64), len(positions))
    words = philox_words(seed, stream, positions, -(-count // 4), attempts)[:, :count]
    uniform = words.astype(np.float64)
    uniform += 0.5
    uniform /= 2.0**32
    return uniform


def gumbel_noise(
    seed: int, stream: int, positions: NDArray[np.int64], vocabulary: int, attempt: Attempt = 0
) -> NDArray[np.float32]:
    """Return Gumbel noise for sampling, Float32[n, vocabulary]; arguments as for `uniform_noise` (RNG-1)."""
    uniform = uniform_noise(seed, stream, positions, vocabulary, attempt)
    for _ in range(2):
        np.negative(np.log(uniform, out=uniform), out=uniform)
    return uniform.astype(np.float32)


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

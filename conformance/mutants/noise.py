"""Mutants of the noise (RNG-1, RNG-2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.mutant import Mutant, patched
from mulo_sd.engines.loop import execute, state
from mulo_sd.engines.rules import noise
from mulo_sd.engines.rules.noise import NoiseSource

_unseeded: dict[tuple[int, int], NDArray[np.float32]] = {}


def _noise_of_the_first_image(right: Any, source: NoiseSource, cells: list[int]) -> NDArray[np.float32]:
    """Keep noise from image to image, whatever the seed."""
    rows = right(source, cells)
    return np.stack([_unseeded.setdefault((source.stream, cell), row) for cell, row in zip(cells, rows, strict=True)])


def _by_rank(right: Any, source: NoiseSource, cells: list[int]) -> NDArray[np.float32]:
    return np.asarray(right(source, list(range(len(cells)))))


def _exponential(right: Any, *arguments: Any) -> NDArray[np.float32]:
    draws: NDArray[np.float32] = np.exp(-right(*arguments)).astype(np.float32)
    return draws


def _lanes_swapped(right: Any, *arguments: Any) -> NDArray[np.float32]:
    noise = np.asarray(right(*arguments))
    lanes = noise.reshape(len(noise), -1, 4) if noise.shape[1] % 4 == 0 else noise[:, :, None]
    return np.ascontiguousarray(lanes.swapaxes(1, 2)).reshape(noise.shape)


MUTANTS = (
    Mutant("noise by a cell's rank in its step", "RNG-1", patched(NoiseSource, "rows", _by_rank)),
    Mutant("the first image's noise for all", "RNG-1", patched(NoiseSource, "rows", _noise_of_the_first_image)),
    Mutant(
        "the seed's upper half is dropped",
        "RNG-1",
        patched(noise, "uniform_noise", lambda right, seed, *rest, **named: right(seed % 2**32, *rest, **named)),
    ),
    Mutant("a logarithm is missing", "RNG-1", patched(noise, "gumbel_noise", _exponential)),
    Mutant(
        "words are taken block by block, and not code by code", "RNG-1", patched(noise, "gumbel_noise", _lanes_swapped)
    ),
    Mutant(
        "all models draw from the target's stream", "RNG-2", patched(state, "sample_stream", lambda right, model: 0)
    ),
    Mutant(
        "acceptance draws of opening tokens are the samples'",
        "SCHED-5",
        patched(execute, "acceptance_stream", lambda right, model: 2 * model),
    ),
    Mutant(
        "every prediction of an opening token has the first one's noise",
        "SCHED-5",
        patched(
            execute,
            "gumbel_noise",
            lambda right, seed, stream, cells, codes, attempt: right(seed, stream, cells, codes),
        ),
    ),
)

"""Acceptance at a declared rate, spatially clustered: what the speed of a mode depends on, without trained weights."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mulo_sd.engines.bundle.manifest import TransformerEntry

# In cells. Rejections of trained models come in patches, which make larger islands than single cells do.
CORRELATION_LENGTH = 1.5


def acceptance_field(
    height: int, width: int, rate: float, correlation_length: float, seed: Sequence[int]
) -> NDArray[np.bool_]:
    """Return which cells of a grid are accepted, Bool[height, width]: round(rate * cells) of them, in patches.

    Args:
        height: Rows.
        width: Columns.
        rate: 0..1.
        correlation_length: Standard deviation of the Gaussian that smooths the noise, in cells; 0 leaves it white.
        seed: The only source of randomness.
    """
    noise = np.random.default_rng(seed).standard_normal((height, width))
    smooth = ndimage.gaussian_filter(noise, correlation_length) if correlation_length else noise
    # By rank: a threshold would hit the rate on average alone.
    accepted = np.zeros(height * width, dtype=np.bool_)
    accepted[np.argsort(smooth, axis=None, kind="stable")[: round(rate * height * width)]] = True
    return accepted.reshape(height, width)


class Replay:
    """Accepts by a field for each model that verifies; what a `Decoder` takes as `accepted`."""

    def __init__(
        self,
        models: Sequence[TransformerEntry],
        rate: float,
        correlation_length: float = CORRELATION_LENGTH,
        seed: int = 0,
    ) -> None:
        """Draw the fields.

        Args:
            models: Target and drafters; each has the same rate wherever it verifies.
            rate: 0..1.
            correlation_length: In cells.
            seed: 0..2^63 - 1.
        """
        self.rate = rate
        self.fields = [
            acceptance_field(entry.grid_height, entry.grid_width, rate, correlation_length, (seed, number)).ravel()
            for number, entry in enumerate(models)
        ]

    def __call__(self, model: int, cells: range) -> NDArray[np.bool_]:
        """Return Bool[n] for cells of a model's grid."""
        accepted: NDArray[np.bool_] = self.fields[model][cells.start : cells.stop].copy()
        return accepted

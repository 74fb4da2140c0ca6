"""Frechet distances between the images of two variants, with their resamples, each computed once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.study.features import Features
from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.statistics import FrechetTo, Matrix, resampled_indices


class Distances:
    """Distances of variants to a fixed one, over any prompts; the same prompts are resampled for all variants."""

    def __init__(self, features: Features, resamples: int = 200, seed: int = 0) -> None:
        self._features, self._resamples, self._seed = features, resamples, seed
        self._known: dict[tuple[str, str, tuple[Scene, ...]], tuple[float, NDArray[np.float64]]] = {}
        self._fits_of: tuple[str, tuple[Scene, ...]] | None = None
        self._fits: list[FrechetTo] = []

    def _matrix(self, rows: dict[Scene, Row], scenes: Sequence[Scene]) -> Matrix:
        return np.stack([self._features[rows[where].key] for where in scenes]).astype(np.float64)

    def between(
        self, fixed: dict[Scene, Row], rows: dict[Scene, Row], scenes: Sequence[Scene]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the distance between two variants over scenes that both have, and its resamples, Float[resamples].

        Raises:
            ValueError: there are fewer than two scenes.
        """
        where = tuple(scenes)
        first, second = (next(iter(group.values())).identity for group in (fixed, rows))
        if (first, second, where) not in self._known:
            draws = [np.arange(len(where)), *resampled_indices(len(where), self._resamples, self._seed)]
            if self._fits_of != (first, where):  # the last fits only: they are large
                matrix = self._matrix(fixed, where)
                self._fits, self._fits_of = [FrechetTo(matrix[indices]) for indices in draws], (first, where)
            mine = self._matrix(rows, where)
            values = [fit.distance(mine[indices]) for fit, indices in zip(self._fits, draws, strict=True)]
            self._known[first, second, where] = (values[0], np.array(values[1:]))
        return self._known[first, second, where]

"""The study's statistics: intervals of shares and of paired differences, and Frechet distances between features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Estimate:
    """Return a share with Wilson's score interval (JASA 1927).

    Raises:
        ValueError: there are no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes: expected 0..trials of at least one trial, got {successes} of {trials}")
    share, z2 = successes / trials, Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    # At no and at all successes one end is exactly 0 or 1, which rounding may miss.
    low = middle - half if successes else 0.0
    high = middle + half if successes < trials else 1.0
    return Estimate(share, low, high)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> Estimate:
    """Return the share of `first` less that of `second` over the same prompts, with Bonett and Price's interval.

    The interval (Statistics in Medicine 31, 2012) is Wald's with one prompt more on which only the first
    holds and one on which only the second does, so that it has a width where no prompt differs.

    Raises:
        ValueError: the two have different lengths, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"pairs: expected two lists of the same length, got {len(first)} and {len(second)}")
    count = len(first)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    gain, loss = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    half = Z_95 * math.sqrt((gain + loss - (gain - loss) ** 2) / (count + 2))
    middle = gain - loss
    return Estimate((only_first - only_second) / count, max(-1.0, middle - half), min(1.0, middle + half))


def _fit(features: Matrix) -> tuple[Matrix, Matrix]:
    """Return the mean and a matrix X, Float[n, d], such that X'X is the covariance (divided by n - 1)."""
    mean = features.mean(axis=0)
    return mean, (features - mean) / math.sqrt(len(features) - 1)


def _square_root(covariance: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(covariance)
    root: Matrix = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


class FrechetTo:
    """Frechet distances of Gaussians fitted to features, to a fixed set of features, Float[n, d]."""

    def __init__(self, features: Matrix) -> None:
        """Fit the fixed set.

        Raises:
            ValueError: there are fewer than two.
        """
        if len(features) < 2:
            raise ValueError(f"features: expected those of at least 2 images, got {len(features)}")
        self._mean, self._scaled = _fit(features)
        self._trace = float((self._scaled**2).sum())
        self._root = _square_root(self._scaled.T @ self._scaled) if len(features) > features.shape[1] else None

    def distance(self, features: Matrix) -> float:
        """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

        With C1 = X'X and C2 = Y'Y, the eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2),
        and, but for zeros, of X Y' Y X', which is the smaller one where there are fewer images than features.
        """
        mean, scaled = _fit(features)
        product = scaled @ (self._scaled.T if self._root is None else self._root)
        values = np.linalg.eigvalsh(product.T @ product)
        spread = self._trace + float((scaled**2).sum()) - 2 * float(np.sqrt(values.clip(min=0)).sum())
        return max(0.0, float(((self._mean - mean) ** 2).sum()) + spread)


def resampled_indices(count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return prompts drawn with replacement, Int[resamples, count]; the same for everything of `count` prompts."""
    return np.random.default_rng([0x465244, seed, count]).integers(count, size=(resamples, count))


def bootstrap_interval(value: float, drawn: NDArray[np.float64]) -> Estimate:
    """Return a value with the 2.5% and 97.5% percentiles of its resamples, Float[resamples], moved onto the value.

    A resample repeats prompts, so its covariances have a lower rank and its Frechet distances are larger
    on average than the one it estimates; the interval is the resamples' spread without that shift.
    """
    low, high = np.percentile(drawn, [2.5, 97.5]) - drawn.mean()
    return Estimate(float(value), float(value + low), float(value + high))

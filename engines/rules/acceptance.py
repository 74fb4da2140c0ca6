"""Which draft tokens are accepted (ACCEPT-1): the one place of the engines that decides it; twin of the reference's."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.settings import Settings


def accept_drafts(pooled: NDArray[np.float32], entropies: NDArray[np.float32], settings: Settings) -> NDArray[np.bool_]:
    """Return which draft tokens are accepted, Bool[n], by the rule that the settings choose.

    Args:
        pooled: Float32[n], POOL-1.
        entropies: Float32[n], of p in nats, for rules that ask for less where the target is unsure.
        settings: Of the decode.
    """
    return accept(pooled, settings.tau)


def accept(pooled: NDArray[np.float32], tau: float) -> NDArray[np.bool_]:
    """Return which draft tokens are kept: pooled >= tau; none where tau > 1 (ACCEPT-1)."""
    if tau > 1:  # a pooled probability may exceed 1 by rounding
        return np.zeros(pooled.shape, dtype=np.bool_)
    return np.asarray(pooled >= np.float32(tau))

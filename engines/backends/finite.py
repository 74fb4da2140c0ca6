"""What a backend says must be numbers: NaN would draw some token, and the image would look like one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import BackendError

# Larger ones overflow float32 under some guidance and temperature; those of models are some dozen in size.
LARGEST = 1e30


class LogitsError(BackendError):
    """Logits, or what was made of them, that are not numbers; its message is one line that names graph and pass."""


def check_logits(logits: NDArray[np.float32], where: str) -> None:
    """Refuse logits, Float32[B, T, V], from which nothing can be drawn.

    Without guidance (B = 1) a logit of minus infinity is a code that is never drawn; under guidance the difference of
    two such logits would be NaN.

    Raises:
        LogitsError: one is NaN or too large, all of a row are minus infinity, or one is too small under guidance.
    """
    # The largest of a row is NaN where any is; a pass over the logits, without an array of their size.
    if (np.abs(logits.max(axis=-1)) <= LARGEST).all() and (len(logits) == 1 or logits.min() >= -LARGEST):
        return
    nan, sound = int(np.isnan(logits).sum()), np.abs(logits) <= LARGEST
    larger, row = int((~sound).sum()) - nan, int(np.flatnonzero(~sound.all(axis=(0, 2)))[0])
    raise LogitsError(
        f"{where}: expected logits of at most {LARGEST:g} in size, got {nan} NaN and {larger} larger ones "
        f"of {logits.size}, the first in row {row}; build the bundle in fp32, or look at its weights"
    )


def check_drawn(tokens: NDArray[np.int64], where: str) -> None:
    """Refuse tokens below 0, by which a backend says that logits on its device are not finite.

    Raises:
        LogitsError: there are such.
    """
    if len(tokens) and int(tokens.min()) < 0:
        raise LogitsError(
            f"{where}: expected finite logits, got others in {int((tokens < 0).sum())} of {len(tokens)} rows"
        )


def check_made(values: NDArray[Any], where: str, what: str) -> None:
    """Refuse NaN in what was made of logits: log p, pooled probabilities, entropies.

    Raises:
        LogitsError: there is one.
    """
    if np.isnan(values).any():
        raise LogitsError(f"{where}: expected {what}, got {int(np.isnan(values).sum())} NaN of {values.size}")

"""What a backend says must be numbers: NaN would draw some token, and the image would look like one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import BackendError


class LogitsError(BackendError):
    """Logits, or what was made of them, that are not numbers; its message is one line that names graph and pass."""


def check_logits(logits: NDArray[np.float32], where: str) -> None:
    """Refuse logits, Float32[B, T, V], from which nothing can be drawn.

    Without guidance (B = 1) a logit of minus infinity is a code that is never drawn; under guidance the difference of
    two such logits would be NaN.

    Raises:
        LogitsError: one is NaN or plus infinity, all of a row are minus infinity, or one is under guidance.
    """
    # The largest of a row is NaN where any is; one pass over the logits, without an array of their size.
    if np.isfinite(logits.max(axis=-1)).all() and (len(logits) == 1 or np.isfinite(logits.min())):
        return
    nan, infinite = int(np.isnan(logits).sum()), int(np.isinf(logits).sum())
    row = int(np.flatnonzero(~np.isfinite(logits).all(axis=(0, 2)))[0])
    raise LogitsError(
        f"{where}: expected finite logits, got {nan} NaN and {infinite} infinite ones of {logits.size}, the first in "
        f"row {row}; the weights or the precision of the bundle are at fault: build it in fp32"
    )


def check_tokens(tokens: NDArray[np.int64], where: str) -> None:
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

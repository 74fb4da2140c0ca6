"""What every source of drafts does."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.corrections import Window

# What the drafts of some cells were drawn from: log q, Float32[V]; None where it is certain, and q is 1 (METHOD-2).
DrawnFrom = Mapping[int, NDArray[np.float32] | None]


class DraftSource(Protocol):
    """Drafts tokens for the windows of a pass."""

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Put drafts of the windows' cells into the grid; return what those were drawn from, by cell."""

    def carry(self, carried: DrawnFrom) -> None:
        """Take note of the tokens that cells not decided hold after a pass, by what they were drawn from."""

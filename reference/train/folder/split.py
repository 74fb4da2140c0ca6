"""Which pictures are held out: by what they look like, so that a copy is never on the other side."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 8, 1000  # pictures that are held out
FEWEST_PICTURES = 2 * LEAST


@dataclass(frozen=True)
class Split:
    """Rows of the cache, Int[n] each, in their order."""

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]


def split(hashes: NDArray[np.uint8], share: float) -> Split:
    """Return the split of different pictures.

    Those with the smallest hashes are held out. With more pictures, one that was learned from is never held out;
    of those that are held out, the ones beyond the most that are wanted are learned from.

    Args:
        hashes: UInt8[n, bytes], at least `FEWEST_PICTURES` different ones.
        share: Of all pictures, how many are held out, unless these are fewer than `LEAST` or more than `MOST`.
    """
    numbers = np.ascontiguousarray(hashes[:, :8]).view(">u8")[:, 0]
    order = np.lexsort((np.arange(len(numbers)), numbers))
    below = int(np.count_nonzero(numbers < np.uint64(int(share * 2**64))))
    count = min(max(below, LEAST), MOST)
    return Split(np.sort(order[count:]), np.sort(order[:count]))

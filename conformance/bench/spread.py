"""A measured figure as its median and quartiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of `count` measurements."""

    median: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2) -> str:
        """Return "median (low-high)", or the median alone where there is one measurement."""
        if self.count == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"

    def to_json(self) -> dict[str, Any]:
        """Return it by name."""
        return {"median": self.median, "quartile_1": self.low, "quartile_3": self.high, "count": self.count}


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    low, median, high = np.quantile(np.asarray(values, dtype=np.float64), (0.25, 0.5, 0.75)).tolist()
    return Spread(median, low, high, len(values))

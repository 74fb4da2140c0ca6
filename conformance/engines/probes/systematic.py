"""Errors of logits that are small and all of one sign: what rounding leaves in a mean, and what it does not.

Rounding moves a logit to either side. Its error has a spread, estimated from the run itself, and the mean over n of
them comes as near to 0 as s / sqrt(n), but for what all of them share: weights that are rounded once are off in every
pass. So the mean over a group must lie within

    limit = SHARED * s + STEEP * TAIL * s / sqrt(n)

- s is the spread, 1.4826 times the median distance from the median, which a bias of some codes or rows does not move.
  It is measured inside the groups of each grouping, and the smallest is taken, so that a bias of every group, which
  would widen the whole, does not excuse itself.
- TAIL says how much larger the standard deviation may be than s, since errors of half precision have heavy tails.
- SHARED is what rounded weights may leave.
- STEEP is the normal quantile. A right engine fails with a probability of at most 2 Q(STEEP) = 8.1e-11 for each group;
  docs/conformance.md adds them up.

A group is a code in one half of a guided pair; a half; a row of the passes; a row and a column of the grid; a position
that was fed often enough; and the gain, the correlation of errors with the logits themselves. Where all codes of a row
are off together, which no distribution sees, the row counts as one error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARED, TAIL, STEEP = 1.6, 2.0, 6.5
# Of one group, under the assumptions above: both sides beyond STEEP standard deviations.
FALSE_ALARM = 8.1e-11
# A mean of fewer is no mean.
FEWEST = 6
# A reference in float64 and an engine without any error but that of its last rounding.
MIN_SPREAD = 2e-7
Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Errors of n rows of logits, and where each comes from.

    Attributes:
        errors: Float[n, V], the engine's logits less the reference's.
        logits: Float[n, V], the reference's.
        labels: For each grouping of rows Int[n]; "half" is among them.
    """

    errors: Floats
    logits: Floats
    labels: Mapping[str, Labels]


@dataclass(frozen=True)
class Group:
    """The mean of one group: its name, how many errors it is of, and how large it may be."""

    name: str
    mean: float
    count: int
    limit: float


def joined(parts: list[Rows]) -> Rows:
    """Return the rows of several passes or decodes as one."""
    return Rows(
        np.concatenate([part.errors for part in parts]),
        np.concatenate([part.logits for part in parts]),
        {name: np.concatenate([part.labels[name] for part in parts]) for name in parts[0].labels},
    )


def each_position_once(rows: Rows) -> Rows:
    """Return of each position in each half the last row: fed again in one decode, it is nearly the same error again."""
    order = np.arange(len(rows.errors))[::-1]
    pairs = np.stack([rows.labels["half"], rows.labels["position"]], axis=1)[order]
    kept = np.sort(order[np.unique(pairs, axis=0, return_index=True)[1]])
    return Rows(rows.errors[kept], rows.logits[kept], {name: labels[kept] for name, labels in rows.labels.items()})


def _spread(values: Floats, axis: int | None = None) -> float:
    """Return 1.4826 times the median distance from the median; along an axis the median of all of them."""
    distance = np.abs(values - np.median(values, axis=axis, keepdims=True))
    return 1.4826 * float(np.median(np.median(distance, axis=axis)))


def _limit(spread: float, count: int) -> float:
    return max(spread, MIN_SPREAD) * (SHARED + STEEP * TAIL / float(np.sqrt(count)))


def _codes(rows: Rows) -> Iterator[Group]:
    """Tell the mean error of each code in each half."""
    spread = min(_spread(rows.errors, axis=0), _spread(rows.errors, axis=1))
    for half in np.unique(rows.labels["half"]).tolist():
        chosen = rows.errors[rows.labels["half"] == half]
        means = chosen.mean(axis=0)
        for code, mean in enumerate(means.tolist()):
            yield Group(f"code {code} of half {half}", mean, len(chosen), _limit(spread, len(chosen)))


def _row_groups(rows: Rows) -> Iterator[Group]:
    """Tell the mean error of groups of rows, each row counted once."""
    means = rows.errors.mean(axis=1)
    spreads = []
    groups: list[tuple[str, Floats]] = []
    for name, labels in rows.labels.items():
        chosen = [
            (f"{name} {label}", means[labels == label])
            for label in np.unique(labels).tolist()
            if label >= 0 and int((labels == label).sum()) >= FEWEST
        ]
        if chosen:
            spreads.append(float(np.median([_spread(values) for _, values in chosen])))
            groups += chosen
    # What rows share in a random model is less than what single logits do; a trained one's codes move together.
    spread = min(spreads, default=0.0)
    for name, values in groups:
        yield Group(name, float(values.mean()), len(values), _limit(spread, len(values)))


def _gain(rows: Rows) -> Iterator[Group]:
    """Tell by how much errors grow with the logits: a scale that is a little too large or too small."""
    centred = rows.logits - rows.logits.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.sqrt((centred**2).mean(axis=1, keepdims=True)), 1e-9)
    errors = rows.errors - rows.errors.mean(axis=1, keepdims=True)
    gains = (errors * unit).mean(axis=1)
    yield Group("the gain", float(gains.mean()), len(gains), _limit(_spread(gains), len(gains)))


def groups_of(rows: Rows) -> list[Group]:
    """Return the mean of every group."""
    return [*_codes(rows), *_row_groups(rows), *_gain(rows)]


def hold(what: str, rows: Rows) -> list[Group]:
    """Assert that no mean is larger than rounding explains; return all of them."""
    groups = groups_of(rows)
    worst = max(groups, key=lambda group: abs(group.mean) / group.limit)
    wrong = sum(abs(group.mean) > group.limit for group in groups)
    assert not wrong, (
        f"{what}: logits are off to one side in {wrong} of {len(groups)} groups, most for {worst.name}: by "
        f"{worst.mean:.3g} in the mean of {worst.count}, where rounding explains {worst.limit:.3g}"
    )
    return groups

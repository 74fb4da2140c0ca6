"""CONF-1 beyond the largest error: logits are not off to one side, by code, row or position."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.probes import systematic
from mulo_sd.conformance.engines.probes.probe import Floats, Twin, random_condition_of
from mulo_sd.conformance.engines.probes.systematic import Rows
from mulo_sd.conformance.subject import Subject

# Guided grids of each model, in passes of these lengths.
GRIDS, LENGTHS = 8, (1, 3, 8, 5, 2)


def labelled(logits: Floats, expected: Floats, positions: NDArray[np.int64], prefix_length: int, width: int) -> Rows:
    """Return the errors of a pass as rows.

    Args:
        logits: Float[B, T, V], the engine's logits.
        expected: Float[B, T, V], the reference's.
        positions: Int[T], sequence positions.
        prefix_length: GRID-2.
        width: Of the grid.
    """
    batch, fed, codes = logits.shape
    cells = positions - prefix_length
    name_to_values = {
        "row of a pass": np.arange(fed),
        "row of a pass from its end": np.arange(fed)[::-1],
        "row of the grid": np.where(cells >= 0, cells // width, -1),
        "column of the grid": np.where(cells >= 0, cells % width, -1),
        "position": positions,
    }
    labels = {name: np.tile(values, batch) for name, values in name_to_values.items()}
    labels["half"] = np.repeat(np.arange(batch), fed)
    errors = (logits.astype(np.float64) - expected).reshape(-1, codes)
    return Rows(errors, expected.astype(np.float64).reshape(-1, codes), labels)


def errors_of(subject: Subject, number: int) -> Rows:
    """Feed a model random grids under random conditions, and return the errors of all its logits."""
    rng = np.random.default_rng(number)
    parts: list[Rows] = []
    guided = "guidance" in subject.capabilities
    for index in range(GRIDS):
        twin = Twin(subject, number, random_condition_of(subject, 10 * number + index, guided))
        entry = twin.entry
        shape = (entry.prefix_length, entry.grid_width)
        logits, expected = twin.prefill()
        twin.hold(f"model {number}, the prefix", logits, expected)
        parts.append(labelled(logits, expected, np.arange(entry.prefix_length), *shape))
        cells, at = entry.grid_height * entry.grid_width, 0
        while at < cells:
            fed = list(range(at, min(at + LENGTHS[(at + index) % len(LENGTHS)], cells)))
            logits, expected = twin.feed(fed, rng.integers(0, entry.vocabulary, len(fed)).tolist())
            twin.hold(f"model {number}, cells {fed[0]} to {fed[-1]}", logits, expected)
            parts.append(labelled(logits, expected, np.array(fed) + entry.prefix_length, *shape))
            at = fed[-1] + 1
    return systematic.joined(parts)


def logits_are_not_off_to_one_side(subject: Subject) -> None:
    """CONF-1: the mean error of each code, half, row and position, and the gain, are what rounding explains."""
    for number in range(len(subject.pipeline.bundle.manifest.models)):
        systematic.hold(f"model {number}", errors_of(subject, number))

"""Rows of a comparison, with figures that a test chooses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.conformance.compare.entries import CONTROLS, ENTRIES
from mulo_sd.conformance.study.distances import Distances
from mulo_sd.conformance.study.features import Features
from mulo_sd.conformance.study.rows import Row, Scene, pack_tokens
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.engines.prompts.vocabulary import TASKS

CELLS = 6


def rows_of(name: str, holds: list[bool], **changes: Any) -> list[Row]:
    """Return one row a prompt of an entry or control, task after task."""
    rows = []
    for number, held in enumerate(holds):
        fields: dict[str, Any] = {
            "acceptance_rate": 0.9,
            "resampled_rate": 0.2,
            "nfe_target": 2,
            "nfe_drafter": 1,
            "cycles": 1,
            "seconds": 2.0,
            "batched": False,
            "height": 2,
            "width": 3,
            "tokens": pack_tokens(np.arange(CELLS).reshape(2, 3)),
            "fed_target": 20,
        } | changes
        fields.setdefault("nfe_by_model", {"0": fields["nfe_target"], "1": fields["nfe_drafter"]})
        row = Row(
            identity=name,
            variant=name,
            task=TASKS[number % len(TASKS)],
            task_number=number % len(TASKS),
            index=number // len(TASKS),
            seed=number,
            holds=held,
            **fields,
        )
        rows.append(row)
    return rows


def results_of(rows: list[Row]) -> Results:
    """Return results in which an entry's identity is its name, and a prompt's features are its own random ones."""
    by_identity: dict[str, dict[Scene, Row]] = {}
    features: Features = {}
    for row in rows:
        by_identity.setdefault(row.identity, {})[row.scene] = row
        own: NDArray[np.float32] = np.random.default_rng(row.scene).normal(size=4).astype(np.float32)
        features[row.key] = own
    everything = [*CONTROLS, *(entry.variant for entry in ENTRIES)]
    identities = {(item.section, item.name): item.name for item in everything}
    return Results(by_identity, Distances(features, resamples=20), identities, DemoWorld())


@pytest.fixture
def make_rows() -> Callable[..., list[Row]]:
    return rows_of


@pytest.fixture
def make_results() -> Callable[[list[Row]], Results]:
    return results_of

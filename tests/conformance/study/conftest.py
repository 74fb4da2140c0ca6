"""Rows as a study would have drawn them, with figures that a test chooses."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.conformance.study.distances import Distances
from mulo_sd.conformance.study.features import Features
from mulo_sd.conformance.study.rows import Row, pack_tokens
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.conformance.worlds.world import World
from mulo_sd.engines.prompts.vocabulary import TASKS

MakeRows = Callable[..., list[Row]]


def _rows(
    variant: str, holds: list[bool], section: str = "controls", tasks: tuple[str, ...] = TASKS, **changes: object
) -> list[Row]:
    """Return one row a prompt, task after task."""
    rows = []
    for number, held in enumerate(holds):
        fields: dict[str, object] = {
            "acceptance_rate": 0.9,
            "resampled_rate": 0.2,
            "nfe_target": 100,
            "nfe_drafter": 50,
            "cycles": 1,
            "seconds": 2.0,
            "batched": False,
            "height": 2,
            "width": 3,
            "tokens": pack_tokens(np.arange(6).reshape(2, 3)),
        } | changes
        row = Row(
            identity=f"{section}/{variant}",
            variant=variant,
            task=tasks[number % len(tasks)],
            task_number=number % len(tasks),
            index=number // len(tasks),
            seed=number,
            holds=held,
            **fields,  # type: ignore[arg-type]
        )
        rows.append(row)
    return rows


@pytest.fixture
def make_rows() -> MakeRows:
    return _rows


def results_of(rows: list[Row], shifts: dict[str, float], world: World | None = None) -> Results:
    """Return results whose features are a prompt's own random ones, moved by a variant's shift."""
    by_identity: dict[str, dict[tuple[int, int], Row]] = {}
    features: Features = {}
    for row in rows:
        by_identity.setdefault(row.identity, {})[row.scene] = row
        own: NDArray[np.float32] = np.random.default_rng(row.scene).normal(size=4).astype(np.float32)
        features[row.key] = own + np.float32(shifts.get(row.identity, 0.0))
    identities = {}
    for name in by_identity:
        section, _, variant = name.partition("/")
        identities[section, variant] = name
    return Results(by_identity, Distances(features, resamples=20), identities, world or DemoWorld())


@pytest.fixture
def make_results() -> Callable[..., Results]:
    return results_of

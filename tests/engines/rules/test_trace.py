"""Traces: plain JSON, and the rates that are read off them."""

import json
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.rules.trace import Cycle, Pass, Reprediction, Sweep, Trace


def make_cycle(kept: list[list[int]], resampled: list[list[int]], **changes: Any) -> Cycle:
    mask = np.array(kept, dtype=np.bool_)
    values: dict[str, Any] = {
        "model": 0,
        "draft_model": 1,
        "first_row": 0,
        "last_row": len(mask),
        "draft_first_row": 0,
        "draft_tokens": np.zeros((1, mask.shape[1] // 2), dtype=np.int64),
        "up_sampled": np.zeros(mask.shape, dtype=np.int64),
        "pooled_probs": np.full(mask.shape, 0.25, dtype=np.float32),
        "kept": mask,
        "radii": np.full(mask.shape, 3),
        "resampled": np.array(resampled, dtype=np.bool_),
        "tokens": np.ones(mask.shape, dtype=np.int64),
        "down_sampled": None,
        "verify_pass": 1,
    }
    return Cycle(**(values | changes))


@pytest.fixture
def trace() -> Trace:
    prefill = Pass(0, np.arange(2), np.full(2, -1), sampled=[(1, 0, 7)])
    verification = Pass(0, np.array([2, 5]), np.array([7, 3]), logits=np.zeros((1, 2, 4), dtype=np.float32))
    verification.sweeps.append(Sweep(np.array([3, 6]), np.array([5, 5]), np.array([5, 2]), np.array([True, False])))
    verification.repredicted.append(Reprediction(0, 2, 1, held_token=7, kept=False, token=4))
    drafts = [Pass(1, np.arange(number + 1), np.zeros(number + 1, dtype=np.int64)) for number in range(3)]
    cycles = [
        make_cycle([[1, 1, 0, 1]], [[0, 0, 1, 1]]),
        make_cycle([[1, 1], [0, 1]], [[0, 0], [1, 0]], down_sampled=np.array([[4, 5]]), first_row=1, last_row=3),
    ]
    middle = make_cycle([[0, 0]], [[1, 1]], model=1, draft_model=2)
    return Trace([prefill, *drafts, verification], [middle, *cycles])


def test_rates(trace: Trace) -> None:
    """Kept and resampled draft tokens of the target's cycles, as shares of all its draft tokens."""
    assert trace.acceptance_rate == 6 / 8
    assert trace.resampled_rate == 3 / 8
    assert [len(trace.cycles_of(model)) for model in range(3)] == [2, 1, 0]
    assert (trace.nfe(0), trace.nfe(1), trace.nfe(2)) == (2, 3, 0)


def test_nothing_was_drafted() -> None:
    """MODE-AR has no cycles."""
    assert Trace().acceptance_rate == 1
    assert Trace().resampled_rate == 0
    assert Trace().to_json() == {"passes": [], "cycles": []}


def test_json(trace: Trace) -> None:
    """Everything but logits, as numbers and lists; masks as 0 and 1."""
    content = trace.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["passes"][0] == {
        "model": 0,
        "positions": [0, 1],
        "tokens": [-1, -1],
        "sampled": [[1, 0, 7]],
        "repredicted": [],
        "sweeps": [],
        "speculated": [],
        "trees": [],
    }
    assert content["passes"][4]["positions"] == [2, 5]
    sweep = {"cells": [3, 6], "guesses": [5, 5], "samples": [5, 2], "decided": [1, 0]}
    assert content["passes"][4]["sweeps"] == [sweep]
    reprediction = {"row": 0, "cell": 2, "attempt": 1, "held_token": 7, "kept": False, "token": 4}
    assert content["passes"][4]["repredicted"] == [reprediction]
    middle, first, second = content["cycles"]
    assert (middle["model"], middle["draft_model"], first["model"], first["draft_model"]) == (1, 2, 0, 1)
    assert first["radii"] == [[3] * 4]
    assert first["kept"] == [[1, 1, 0, 1]]
    assert first["resampled"] == [[0, 0, 1, 1]]
    assert first["pooled_probs"] == [[0.25] * 4]
    assert first["down_sampled"] is None
    assert second["down_sampled"] == [[4, 5]]
    assert (second["first_row"], second["last_row"], second["verify_pass"]) == (1, 3, 1)
    assert first.keys() == {
        *("first_row", "last_row", "draft_first_row", "draft_tokens", "up_sampled", "pooled_probs"),
        *("model", "draft_model", "radii"),
        *("kept", "resampled", "tokens", "down_sampled", "verify_pass"),
    }


def test_json_of_logits_stays_small(trace: Trace) -> None:
    assert "logits" not in json.dumps(trace.to_json())

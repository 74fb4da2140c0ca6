"""Replayed acceptance: the declared rate exactly, in patches, the same again; and what decodes make of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.conformance.bench.replay import Replay, acceptance_field
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.passes.auto_widths import AutoWidths
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.reference.models import Models
from tests.fakes.torch_backend import TorchBackend, bundle_in_memory

FIELDS = 2


def disagreement(field: np.ndarray[Any, Any]) -> float:
    """Return the share of neighbours along a row that differ."""
    return float((field[:, 1:] != field[:, :-1]).mean())


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("length", [0.0, 1.5, 4.0])
def test_the_rate_is_hit_exactly(rate: float, length: float) -> None:
    field = acceptance_field(32, 16, rate, length, (3, 0))
    assert field.shape == (32, 16)
    assert int(field.sum()) == round(rate * 32 * 16)


def test_rejections_come_in_patches() -> None:
    shares = [
        np.mean([disagreement(acceptance_field(32, 32, 0.8, length, (seed, 0))) for seed in range(5)])
        for length in (0.0, 1.5, 4.0)
    ]
    assert shares[0] > 1.5 * shares[1] > 2 * shares[2]
    # White noise: neighbours differ as often as two independent cells do.
    assert shares[0] == pytest.approx(2 * 0.8 * 0.2, abs=0.03)


def test_the_same_seed_gives_the_same_field() -> None:
    assert (acceptance_field(8, 8, 0.5, 1.5, (1, 0)) == acceptance_field(8, 8, 0.5, 1.5, (1, 0))).all()
    assert (acceptance_field(8, 8, 0.5, 1.5, (1, 0)) != acceptance_field(8, 8, 0.5, 1.5, (2, 0))).any()


@pytest.fixture(scope="module")
def pipeline(toy_models: Models, tmp_path_factory: pytest.TempPathFactory) -> engines.Pipeline:
    bundle = bundle_in_memory(toy_models, tmp_path_factory.mktemp("toy"), FIELDS, 8)
    made = engines.Pipeline.__new__(engines.Pipeline)  # a toy's grammar is nobody's: no front end
    made.bundle, made.backend = bundle, TorchBackend(toy_models, FIELDS)
    made.auto_widths = AutoWidths(bundle, made.backend)
    return made


@pytest.fixture(scope="module")
def condition(pipeline: engines.Pipeline) -> engines.Condition:
    target = pipeline.bundle.manifest.target
    ids = np.random.default_rng(2).integers(1, target.condition_ids, (2, target.prefix_length, FIELDS))
    return engines.Condition(ids[0], ids[1])


MODES: tuple[dict[str, Any], ...] = (
    {"mode": "serial", "draft_rows": 1},
    {"mode": "parallel"},
    {"mode": "parallel", "drafters": (1, 2)},
)


@pytest.mark.parametrize("changes", MODES, ids=lambda changes: "-".join(map(str, changes.values())))
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_local_verification_keeps_what_is_replayed(
    pipeline: engines.Pipeline, condition: engines.Condition, changes: dict[str, Any], rate: float
) -> None:
    settings = pipeline.settings(**changes, radius=0, neighbours=4)
    replay = Replay(pipeline.bundle.manifest.models, rate, 1.0, 7)
    trace = pipeline.decode(condition, settings, 5, hooks=Hooks(accepted=replay)).trace
    for model in settings.model_numbers[:-1]:
        for cycle in trace.cycles_of(model):
            width = cycle.kept.shape[1]
            cells = range(cycle.first_row * width, cycle.last_row * width)
            assert (cycle.kept.ravel() == replay(model, cells)).all()
            assert (cycle.resampled == ~cycle.kept).all()
    assert trace.acceptance_rate == rate
    # The verification runs all the same: its probabilities are the model's.
    assert all((cycle.pooled_probs > 0).any() for cycle in trace.cycles)


@pytest.mark.parametrize("mode", ["ar", "zipar"])
def test_nothing_is_asked_where_nothing_is_drafted(
    pipeline: engines.Pipeline, condition: engines.Condition, mode: str
) -> None:
    def refuse(_model: int, _cells: range) -> Any:
        raise AssertionError

    pipeline.decode(condition, pipeline.settings(mode=mode, neighbours=4), 5, hooks=Hooks(accepted=refuse))


def test_without_a_replay_nothing_changes(
    pipeline: engines.Pipeline, condition: engines.Condition, tmp_path: Path
) -> None:
    settings = pipeline.settings(mode="parallel", neighbours=4, tau=0.2)
    plain = Decoder(pipeline.bundle, pipeline.backend, condition, settings, 5).decode()
    tau = np.float32(settings.tau)
    assert all((cycle.kept == (cycle.pooled_probs >= tau)).all() for cycle in plain.trace.cycles)

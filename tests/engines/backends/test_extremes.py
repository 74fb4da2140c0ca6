"""Every setting at the ends of its range draws an image, with finite probabilities, whatever the others are."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mulo_sd import engines
from mulo_sd.engines.backends import array_scores
from mulo_sd.engines.backends.finite import check_logits
from mulo_sd.engines.backends.torch_cuda import sampling
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import MODES, WINDOWS, Settings
from mulo_sd.reference.sampling import target_log_probs

TINY = 5e-324  # the smallest float above 0
EXTREMES: dict[str, tuple[Any, ...]] = {
    "guidance_scale": (-100, 0, 1, 100, 1 + 2**-52),
    "temperature": (0, 1e-5, 100, 1 - 2**-53),
    "top_k": (0, 1, 2**20),
    "top_p": (TINY, 1e-30, 2**-24, 1 - 2**-53, 1),
    "tau": (-1e9, -TINY, 0, TINY, 1, 1 + 2**-52, 1e9),
    "radius": (0, 1024),
    "radius_nats": (0, TINY, 1e-300, 1e9),
    "anchor": (0, TINY, 1000),
    "neighbours": (1, 32),
    "draft_rows": (1, 2**20),
    "look_ahead": (0, 2**20),
    "refresh": (False, True),
    "islands": (False, True),
    "adaptive_window": (False, True),
    "accept_on": ("processed", "raw"),
    "draft_by": ("windows", "sweeps"),
    "resample_by": ("windows", "sweeps"),
    "sweep_width": (1, 2**20, None),
    "sweeps": (1, 2**20, None),
    "draft_sweeps": (1, 2**20, None),
    "first_guess": ("above", "left", "opening"),
    "drafters": ((1,), (1, 2)),
    **dict.fromkeys(WINDOWS, (1, 2**20, None)),
}
# Where a setting has no part in mode parallel.
USED_IN = {
    "adaptive_window": "zipar",
    "window": "zipar",
    "sweep_width": "exact",
    "first_guess": "ar",
    "draft_rows": "serial",
    "look_ahead": "serial",
    "refresh": "serial",
}
EACH = [{name: value} for name, values in EXTREMES.items() for value in values]


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> Pipeline:
    return engines.load(minimal_bundle, threads=1)


def draw(pipeline: Pipeline, mode: Any, changes: dict[str, Any]) -> None:
    if mode == "exact":
        changes = changes | {"accept_on": "processed"}
    limit = pipeline.bundle.manifest.max_neighbours
    changes = changes | {"neighbours": min(changes.get("neighbours", limit), limit)}
    result = pipeline.generate("two red circles", 2**64 - 1, mode, **changes)
    assert result.tokens.min() >= 0
    assert result.tokens.max() < pipeline.bundle.manifest.target.vocabulary
    assert all(np.isfinite(cycle.pooled_probs).all() for cycle in result.trace.cycles)
    assert all(math.isfinite(number) for number in vars(result.stats).values())


@pytest.mark.parametrize("changes", EACH, ids=str)
def test_each_by_itself(pipeline: Pipeline, changes: dict[str, Any]) -> None:
    """In a mode that uses it."""
    (name,) = changes
    draw(pipeline, USED_IN.get(name, "parallel"), changes)


@given(
    mode=st.sampled_from(tuple(MODES)),
    changes=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in EXTREMES.items()}),
)
@example(mode="parallel", changes={"temperature": 1e-5, "guidance_scale": -100, "top_p": TINY, "radius_nats": TINY})
@example(mode="zipar", changes={"temperature": 1e-5, "guidance_scale": 100, "adaptive_window": True, "window": 1})
@example(mode="lantern-plus", changes={"guidance_scale": -100, "top_p": 1})
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_of_them_together(pipeline: Pipeline, mode: str, changes: dict[str, Any]) -> None:
    draw(pipeline, mode, changes)


@pytest.mark.parametrize("size", [1e30, -1e30])
@pytest.mark.parametrize("scale", [-100.0, 1.0, 1.5, 100.0])
@pytest.mark.parametrize("temperature", [0.0, 1e-5, 1.0])
def test_the_largest_logits_that_are_taken(size: float, scale: float, temperature: float) -> None:
    """They overflow under no guidance and temperature: host, reference and torch-cuda draw one distribution."""
    logits = np.array([[[0, size, 1]], [[1, -size, 0]]], dtype=np.float32)
    check_logits(logits, "here")
    both = torch.from_numpy(logits)
    chosen = Settings(guidance_scale=scale, temperature=temperature, top_k=2, top_p=0.5)
    host = np.exp(array_scores.log_probs(logits, chosen.distribution))
    reference = target_log_probs(both[0], both[1], scale, temperature, 2, 0.5).exp().numpy()
    device = sampling.log_probs(both, scale, temperature, 2, 0.5).exp().numpy()
    for found in (host, reference, device):
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(found, host)

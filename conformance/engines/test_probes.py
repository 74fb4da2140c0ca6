"""An engine answers what decodes would ask too rarely: probes of sampling, noise, memories, errors and outputs."""

import numpy as np
import pytest
import torch

from mulo_sd import engines
from mulo_sd.conformance.engines.probes import systematic
from mulo_sd.conformance.engines.probes.bias_laws import errors_of
from mulo_sd.conformance.engines.probes.catalogue import PROBES
from mulo_sd.conformance.engines.probes.probe import Probe
from mulo_sd.conformance.engines.probes.systematic import Rows
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.bundle import Bundle


@pytest.mark.parametrize("law", PROBES, ids=lambda law: law.law.__name__)
def test_probe(law: Probe, small_subject: Subject) -> None:
    """The engine answers as the rules say."""
    missing = sorted(law.needs - small_subject.capabilities)
    if missing:
        pytest.skip(f"not applicable: the backend has no {', '.join(missing)}")
    law.law(small_subject)


SAMPLING = [law for law in PROBES if law.law.__module__.endswith(("edge_laws", "arithmetic_laws", "noise_laws"))]


@pytest.mark.parametrize("law", SAMPLING, ids=lambda law: law.law.__name__)
def test_scores_of_torch(law: Probe, minimal_subject: Subject) -> None:
    """What the backend torch-cuda computes without a GPU, in torch's own operations, samples by the same rules."""

    def make(bundle: Bundle) -> TorchBackend:
        return TorchBackend(minimal_subject.models, torch.float32, "cpu")

    bundle = minimal_subject.pipeline.bundle
    law.law(Subject(engines.Pipeline(bundle, make(bundle)), minimal_subject.models, make))


@pytest.fixture(scope="module")
def right(small_subject: Subject) -> tuple[Rows, float]:
    """Errors of the target's logits, and the bundle's tolerance."""
    manifest = small_subject.pipeline.bundle.manifest
    return errors_of(small_subject, 0), manifest.graphs[manifest.target.graph].tolerance


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("where", ["a code", "a code of the null half", "every code", "by turns", "a position", "gain"])
def test_biases_are_found(where: str, share: float, right: tuple[Rows, float]) -> None:
    """CONF-1: a bias of a tenth of the tolerance is found wherever it lies, in half precision, too."""
    rows, tolerance = right
    codes, by = rows.errors.shape[1], share * tolerance
    bias = np.zeros(rows.errors.shape)
    match where:
        case "a code":
            bias[:, codes // 2] = by
        case "a code of the null half":
            bias[rows.labels["half"] == 1, 7] = -by
        case "every code":
            bias[:] = by
        case "by turns":
            bias[:] = np.where(np.arange(codes) % 2, by, -by)
        case "a position":
            bias[rows.labels["position"] == rows.labels["position"].max() // 2] = by
        case _:
            bias = rows.logits * (by / np.abs(rows.logits).max())
    with pytest.raises(AssertionError, match="logits are off to one side"):
        systematic.hold("model 0", Rows(rows.errors + bias, rows.logits, rows.labels))


def test_right_engines_are_far_from_the_limits(right: tuple[Rows, float]) -> None:
    """CONF-1: of a right engine no mean comes near what rounding may leave."""
    groups = systematic.groups_of(right[0])
    assert max(abs(group.mean) / group.limit for group in groups) < 0.6
    assert systematic.FALSE_ALARM * len(groups) < 1e-6


def test_rounding_alone_raises_no_alarm() -> None:
    """CONF-1: errors with the heavy tails of half precision stay within the limits, run after run."""
    rng = np.random.default_rng(3)
    labels = {"half": np.repeat([0, 1], 150), "position": np.tile(np.arange(50), 6)}
    for _ in range(60):
        errors = rng.standard_t(5, (300, 48)) * rng.lognormal(0, 0.3, (300, 1)) * 1e-3
        systematic.hold("noise", Rows(errors, rng.normal(0, 2, (300, 48)), labels))

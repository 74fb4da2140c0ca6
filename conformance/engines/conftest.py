"""The demo bundle under test and what the reference decodes beside it."""

from collections.abc import Callable
from functools import cache

import pytest

import engines
from conformance.engines.cases import CASES, PROMPTS, SEED, Case
from conformance.engines.reference_side import ReferenceSide
from conformance.engines.replay import Replayed, replay
from engines.demo_bundle import build_demo_bundle, demo_bundle_path

PRECISIONS = ("fp32", "fp16")


@cache
def _pipeline(precision: str) -> engines.Pipeline:
    path = demo_bundle_path(precision)
    if not path.exists():
        build_demo_bundle(path, precision)
    return engines.load(path, threads=1)


@cache
def _drawn(precision: str, case: Case, prompt: str) -> engines.Result:
    return _pipeline(precision).generate(prompt, seed=SEED, **case.changes)  # type: ignore[arg-type]  # by name


@cache
def _reference() -> ReferenceSide:
    return ReferenceSide()


@pytest.fixture(scope="session")
def reference_side() -> ReferenceSide:
    """The reference's models and its decodes, each made once."""
    return _reference()


@pytest.fixture(scope="session", params=PRECISIONS)
def pipeline(request: pytest.FixtureRequest, reference_side: ReferenceSide) -> engines.Pipeline:
    """The demo bundle on ONNX Runtime, built if it is not there."""
    found = _pipeline(request.param)
    reference_side.check_weights(found)
    return found


@pytest.fixture(scope="session")
def fp32_pipeline(reference_side: ReferenceSide) -> engines.Pipeline:
    """The float32 demo bundle."""
    found = _pipeline("fp32")
    reference_side.check_weights(found)
    return found


@pytest.fixture(scope="session")
def drawn() -> Callable[[str, Case, str], engines.Result]:
    """What the engine of a precision draws by itself for a case and a prompt, made once."""
    return _drawn


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """A mode with its models and settings."""
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def replayed(pipeline: engines.Pipeline, reference_side: ReferenceSide, case: Case) -> Replayed:
    """A decode of the reference and the engine's logits for its passes; each case has a prompt of its own."""
    settings = reference_side.settings(pipeline, case)
    prompt = PROMPTS[CASES.index(case) % case.prompts]
    decoded = reference_side.decode(prompt, SEED, settings, record_logits=True)
    return replay(case, pipeline, settings, decoded, reference_side.condition(prompt, SEED))

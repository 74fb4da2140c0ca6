"""The demo bundle under test and what the reference decodes beside it."""

from functools import cache

import pytest

import engines
from conformance.engines.reference_side import ReferenceSide
from engines.demo_bundle import build_demo_bundle, demo_bundle_path

PRECISIONS = ("fp32", "fp16")


@cache
def _pipeline(precision: str) -> engines.Pipeline:
    path = demo_bundle_path(precision)
    if not path.exists():
        build_demo_bundle(path, precision)
    return engines.load(path, threads=1)


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

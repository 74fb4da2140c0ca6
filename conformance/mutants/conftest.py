"""The engine that mutants are made from."""

import pytest

from conformance.subject import Subject
from conformance.targets import open_target, preset_target


@pytest.fixture(scope="session")
def minimal_subject() -> Subject:
    """The minimal preset in float32 on ONNX Runtime, whatever is under test."""
    return open_target(preset_target("minimal", "fp32"))

"""What several test folders share: the demo bundle, built once if it is not there."""

from pathlib import Path

import pytest

from engines.demo_bundle import build_demo_bundle, demo_bundle_path


@pytest.fixture(scope="session")
def demo_bundle() -> Path:
    """The float32 demo bundle's folder."""
    path = demo_bundle_path("fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32")
    return path.resolve()

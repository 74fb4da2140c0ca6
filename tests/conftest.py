"""What several test folders share: the demo bundle, built once if it is not there."""

from pathlib import Path

import pytest
import torch

from engines.demo_bundle import build_demo_bundle, demo_bundle_path

# One token a pass keeps one core busy; threads of several test processes would only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo_bundle() -> Path:
    """The float32 demo bundle's folder."""
    path = demo_bundle_path("fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32")
    return path.resolve()

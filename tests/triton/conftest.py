"""A tritonserver of the wheel nvidia-pytriton, and a repository that the command wrote; skipped without them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.tritonserver import Environments, TritonServer


@pytest.fixture(scope="session")
def environments() -> Environments:
    """The two environments that tests of Triton need."""
    try:
        return Environments()
    except LookupError as error:
        pytest.skip(f"no tritonserver: {error}")


def export(out: Path, *arguments: str) -> Path:
    """Run the command; return the repository's folder."""
    command = [sys.executable, "-m", "mulo_sd.export.triton", "--out", str(out), "--threads", "1", *arguments]
    subprocess.run(command, env=dict(os.environ), timeout=120, check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def repository(
    environments: Environments, minimal_bundle: Path, demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Model `minimal`, wide, and model `narrow`, which draws one long image at a time and lets one wait."""
    folder = tmp_path_factory.mktemp("triton") / "repository"
    export(folder, "--bundle", f"minimal={minimal_bundle}", "--size", "3", "--queue", "16", "--deadline", "30")
    narrow = export(folder.with_name("narrow"), "--bundle", f"narrow={demo_bundle}", "--size", "1", "--queue", "1")
    (narrow / "narrow").rename(folder / "narrow")
    return folder


@pytest.fixture(scope="module")
def server(environments: Environments, repository: Path) -> Iterator[TritonServer]:
    """A server with both models."""
    with TritonServer(environments, repository, "minimal", "narrow") as served:
        yield served


@pytest.fixture(scope="session")
def pipeline(minimal_bundle: Path) -> engines.Pipeline:
    """What draws the images that are expected."""
    return engines.load(minimal_bundle, threads=1)

"""What the tests of the cluster share: where Ray is not installed, those that need it are skipped by name."""

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulo_sd.conformance.tools.serving.replicas import descendants, is_alive
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument


@pytest.fixture(scope="session")
def ray_extra() -> None:
    """Skips without the extra."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra `ray` is not installed (750 MB): tox -e cluster has it, and a stage of .ci/run")


@pytest.fixture(scope="module")
def cluster(ray_extra: None, minimal_bundle: Path, demo_bundle: Path) -> Iterator[Served]:
    """A service of two engine replicas, each with two places and room for one of its two bundles."""
    bundles = (*bundle_argument("minimal", minimal_bundle), *bundle_argument("demo", demo_bundle))
    options = ("--ray", "--replicas", "2", "--size", "2", "--queue", "12", "--bundles-each", "1", "--cpus-each", "0.5")
    with Served(*bundles, *options) as served:
        yield served
        children = descendants(served.process.pid)
        assert served.end(signal.SIGTERM) == 0
        assert_ended(children)


def assert_ended(processes: set[int]) -> None:
    """Assert that all processes end soon."""
    ends_at = time.monotonic() + 15
    while left := [process for process in processes if is_alive(process)]:
        assert time.monotonic() < ends_at, left
        time.sleep(0.1)


def kill(process: int) -> None:
    """End a process as a machine that goes dark does."""
    os.kill(process, signal.SIGKILL)

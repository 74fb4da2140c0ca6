"""What is built and installed once for the tests of packaging."""

from pathlib import Path

import pytest

from tests.mulo_sd.packaging import build, copy_sources, make_environment


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources without links, as a system without symbolic links has them."""
    return copy_sources(tmp_path_factory.mktemp("sources") / "copy")


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the distribution mulo-sd."""
    return build(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment in which the wheel is installed."""
    return make_environment(tmp_path_factory.mktemp("installed") / "venv", wheel)

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
def suite_wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the distribution mulo-sd-conformance."""
    return build(sources / "conformance", tmp_path_factory.mktemp("suite_wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment in which the wheel is installed, alone."""
    return make_environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


@pytest.fixture(scope="session")
def installed_suite(wheel: Path, suite_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment in which the conformance suite is installed beside it."""
    return make_environment(tmp_path_factory.mktemp("installed_suite") / "venv", wheel, suite_wheel)

"""The sdist holds the repository: its own tests pass."""

import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def _tracked() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("what the repository holds is known in a checkout of git alone")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


@pytest.mark.skipif(find_spec("setuptools") is None, reason="setuptools, which builds the sdist, is not installed")
def test_the_sdist_holds_every_file_of_the_repository(tmp_path: Path) -> None:
    """And nothing else but what describes the package."""
    tracked = _tracked()
    for name in tracked:
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    cache = tmp_path / "copy" / "tests" / "__pycache__" / "test_sdist.cpython-311.pyc"
    cache.parent.mkdir()
    cache.write_bytes(b"")
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        held = {str(PurePosixPath(*PurePosixPath(item.name).parts[1:])) for item in archive if item.isfile()}
    assert sorted(set(tracked) - held) == []
    others = {name for name in held - set(tracked) if ".egg-info/" not in name}
    assert others == {"PKG-INFO", "setup.cfg"}

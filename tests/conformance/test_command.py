"""The installed command: what it takes as tests, and as values of options."""

import subprocess
import sys
from pathlib import Path

from mulo_sd.conformance.__main__ import split
from mulo_sd.processes import ROOT


def test_values_are_no_tests() -> None:
    """A bundle may be called as a folder of the suite is, or lie anywhere."""
    given = ["-q", "--bundle", "engines", "engines/test_laws.py::test_law", "-k", "rules", "rules", "--report=fuzz"]
    tests = ["engines/test_laws.py::test_law", "rules"]
    assert split(given) == (tests, ["-q", "--bundle", "engines", "-k", "rules", "--report=fuzz"])
    assert split(["--bundle", "/", "nothing"]) == ([], ["--bundle", "/", "nothing"])


def test_a_bundle_that_is_there(tmp_path: Path) -> None:
    """From another folder, with a pytest configuration of the caller's that would break the run."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n")
    bundle = tmp_path / "engines"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    command = [sys.executable, "-m", "mulo_sd.conformance", "-n0", "--collect-only", "-q", "--bundle", str(bundle)]
    environment = {"PYTHONPATH": str(Path(ROOT)), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "test_logits[parallel-engines]" in done.stdout, done.stderr


def test_assertions_are_needed() -> None:
    """Python leaves them out with -O, and every law would hold."""
    command = [sys.executable, "-O", "-m", "mulo_sd.conformance", "-n0", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=Path(ROOT), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 4
    assert "expected Python without -O" in done.stderr

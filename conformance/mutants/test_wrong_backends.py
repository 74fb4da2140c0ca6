"""The suite as a user runs it ends red for backends that are wrong altogether, and where nothing was tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.mutants.backends import WRONG_BACKENDS
from conformance.options import NOTHING_EXECUTED, REQUIREMENT_MISSING
from conformance.subject import Subject


def run_suite(folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, dict[str, str]]]]:
    """Run the engines' laws as a user does; return the exit status and the report's rules."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-x", "-p", "no:cacheprovider", "--report", str(report)]
    command.append("--hypothesis-profile=few")
    chosen = ["conformance/engines/test_laws.py", "-k", "minimal-fp32"]
    done = subprocess.run([*command, *chosen, *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert report.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(report.read_text())["rules"]


@pytest.mark.parametrize("name", WRONG_BACKENDS)
def test_wrong_backends_end_red(name: str, tmp_path: Path, minimal_subject: Subject) -> None:
    """A backend that refuses everything, gives NaN, is right but once or never twice the same ends the run in red."""
    status, rules = run_suite(tmp_path, "--backend", f"conformance.mutants.backends:{name}")
    assert status == (NOTHING_EXECUTED if name == "refusing" else 1)
    verdicts = {told["verdict"] for told in (rules[rule].get("minimal-fp32") for rule in rules) if told}
    assert ("failed" in verdicts) == (name != "refusing")


def test_missing_requirement_ends_red(tmp_path: Path, minimal_subject: Subject) -> None:
    """A capability that is asked for and not tested has an exit status of its own."""
    status, _ = run_suite(tmp_path, "--require", "exact", "-k", "minimal-fp32 and repredictions")
    assert status == REQUIREMENT_MISSING

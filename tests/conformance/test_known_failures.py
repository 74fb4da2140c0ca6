"""Known failures: each has a reason; what they name fails without harm, and what passes although named is a failure."""

import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.conformance.known_failures import KnownFailure, KnownFailuresError, read_known_failures


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("# ours\n\nKV-4: no refresh yet\n test_law[minimal-fp16-runs_repeat] :  atomics\n")
    found = read_known_failures(path)
    assert found == [
        KnownFailure("KV-4", "no refresh yet"),
        KnownFailure("test_law[minimal-fp16-runs_repeat]", "atomics"),
    ]
    assert found[0].covers("test_it[x]", ("KV-4",))
    assert not found[0].covers("test_it[x]", ("KV-4", "KV-3"))
    assert found[1].covers("test_law[minimal-fp16-runs_repeat]", ("CONF-5",))
    assert KnownFailure("test_law", "all").covers("test_law[minimal-fp16-runs_repeat]", ())


@pytest.mark.parametrize("line", ["KV-4", "KV-4:", ": reason", "KV-4:reason"])
def test_an_entry_without_a_reason_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text(f"# ours\n{line}\n")
    with pytest.raises(KnownFailuresError, match="line 2: expected `test or rule: reason`"):
        read_known_failures(path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--hypothesis-profile=few"]
    chosen = ["conformance/engines/test_laws.py", "-k", "minimal-fp32 and prefill", *arguments]
    return subprocess.run([*command, *chosen], capture_output=True, text=True, timeout=600, check=False)


def test_what_is_known_to_fail_fails_without_harm(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("test_law: logits are NaN on this device\n")
    wrong = ("--backend", "conformance.mutants.backends:not_a_number")
    assert run(*wrong).returncode == 1
    known = run(*wrong, "--known-failures", str(path))
    assert known.returncode == 0
    assert "1 xfailed" in known.stdout
    passing = run("--known-failures", str(path))
    assert passing.returncode == 1
    assert "XPASS(strict)" in passing.stdout


def test_files_that_are_not_there_are_told_in_a_line(tmp_path: Path) -> None:
    for option in ("--known-failures", "--report", "--bundle"):
        done = run(option, str(tmp_path / "none" / "file"))
        assert done.returncode == 4
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        assert len(errors) == 1
        assert option in errors[0]

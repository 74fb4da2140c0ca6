"""The backend that docs/write-a-backend.md shows conforms, in a fresh folder, by the command that the page gives."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.engines.commands.demo_bundle import ENVIRONMENT_VARIABLE, bundle_path
from mulo_sd.processes import environment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "write-a-backend.md"
UNREACHED = {"ACCEPT-5", "ACCEPT-6"}
MAX_LINES = 150


@pytest.mark.thorough
@pytest.mark.skipif(not PAGE.is_file(), reason="the page lies in the repository, not in a package")
def test_the_page_s_backend_conforms(tmp_path: Path, minimal_target_path: Path) -> None:
    """Every law holds for it on the minimal preset, in every mode."""
    text = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"^<!-- backend -->\n```python\n(.*?)^```\n<!-- /backend -->$", text, re.DOTALL | re.MULTILINE)
    assert len(code) == 1
    assert len(code[0].splitlines()) < MAX_LINES
    (tmp_path / "my_backend.py").write_text(code[0], encoding="utf-8")
    # As a script that is installed starts: without the working folder on Python's path.
    command = [sys.executable, "-P", "-m", "mulo_sd.conformance", "--backend", "my_backend:make"]
    command += ["--report", "report.json", "-n0"]
    command.append("--hypothesis-profile=few")
    needed = ["--require", "exact", "--require", "cascade", "--require", "latent"]
    variables = environment() | {
        ENVIRONMENT_VARIABLE: str(minimal_target_path.resolve().parent),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "examples"),
    }
    done = subprocess.run(
        [
            *command,
            *needed,
            "engines/test_laws.py",
            "engines/test_probes.py",
            "engines/test_shapes.py",
            "-k",
            "minimal-fp32",
        ],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "onnxruntime" not in done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    verdicts = {
        rule: by_subject["minimal-fp32"]["verdict"]
        for rule, by_subject in report["rules"].items()
        if "minimal-fp32" in by_subject
    }
    # Of trees, which ask for branches and hidden states: it does not declare them.
    assert {rule for rule, verdict in verdicts.items() if verdict != "passed"} == UNREACHED
    assert {verdicts[rule] for rule in UNREACHED} == {"not applicable"}
    assert len(verdicts) > 30


@pytest.fixture
def minimal_target_path(minimal_subject: object) -> Path:
    """The folder of the minimal preset, which is there by now."""
    return bundle_path("minimal", "fp32")

"""The suite as a user runs it ends red for backends that are wrong altogether, and where nothing was tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.conformance.mutants.backends import WRONG_BACKENDS
from mulo_sd.conformance.options import NOTHING_EXECUTED, REQUIREMENT_MISSING
from mulo_sd.conformance.subject import Subject
from mulo_sd.processes import environment

pytestmark = pytest.mark.thorough
# A defect that is no mutant: the up-sampler of ratio 4 gives its last column first.
PLANTED = """
import numpy as np
from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.engines.backends import make_backend

class Rolled(UnscoredBackend):
    def run(self, graph, inputs):
        outputs = super().run(graph, inputs)
        if graph.startswith("up_sampler_4"):
            outputs = {"high_tokens": np.roll(outputs["high_tokens"], 1, axis=1)}
        return outputs

def make(bundle, threads):
    return Rolled(make_backend("ort", bundle, threads))
"""


def run_suite(folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, dict[str, str]]]]:
    """Run the engines' laws as a user does; return the exit status and the report's rules."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "mulo_sd.conformance", "-q", "-n0", "-x", "--report", str(report)]
    command.append("--hypothesis-profile=few")
    chosen = ["engines/test_laws.py", "-k", "minimal-fp32"]
    done = subprocess.run(
        [*command, *chosen, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment(),
    )
    assert report.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(report.read_text())["rules"]


@pytest.mark.parametrize("name", WRONG_BACKENDS)
def test_wrong_backends_end_red(name: str, tmp_path: Path, minimal_subject: Subject) -> None:
    """A backend that refuses everything, gives NaN, is right but once, never twice the same or by width ends in red."""
    # Those that are wrong in one thing alone: only the law that asks for it need run.
    chosen = {
        "not_deterministic": ("-k", "minimal-fp32 and runs_repeat"),
        "widened": ("engines/test_widths.py", "-k", "minimal-fp32 and small_images"),
    }.get(name, ())
    status, rules = run_suite(tmp_path, "--backend", f"conformance.mutants.backends:{name}", *chosen)
    assert status == (NOTHING_EXECUTED if name == "refusing" else 1)
    verdicts = {
        by_subject["verdict"] for by_subject in (rules[rule].get("minimal-fp32") for rule in rules) if by_subject
    }
    assert ("failed" in verdicts) == (name != "refusing")


def test_missing_requirement_ends_red(tmp_path: Path, minimal_subject: Subject) -> None:
    """A capability that is asked for and not tested has an exit status of its own."""
    status, _ = run_suite(tmp_path, "--require", "exact", "-k", "minimal-fp32 and repredictions")
    assert status == REQUIREMENT_MISSING


def test_a_defect_that_no_mutant_has_is_told_readably(tmp_path: Path, minimal_subject: Subject) -> None:
    """The failure names rule, stage and place, and the smallest decode in one line."""
    (tmp_path / "planted.py").write_text(PLANTED)
    command = [sys.executable, "-m", "mulo_sd.conformance", "-q", "-n0", "--tb=short"]
    chosen = ["engines/test_laws.py", "-k", "minimal-fp32 and scaling", "--backend", "planted:make"]
    variables = environment(tmp_path) | {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "examples")}
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, timeout=600, check=False, env=variables)
    assert done.returncode == 1
    lines = [line.removeprefix("E").strip() for line in done.stdout.splitlines() if line.startswith("E  ")]
    assert any(line.startswith("AssertionError: U_4 to rows 0 to 4 of model 0: ") for line in lines), done.stdout
    note = next(line for line in lines if line.startswith("SCALE-1, SCALE-2"))
    assert "at the stage 'up- and down-sampling', in EngineCase(minimal-fp32 on mutant, 'a red circle left of" in note
    assert "'drafters': (2,)" in note
    assert len(done.stdout.splitlines()) < 60

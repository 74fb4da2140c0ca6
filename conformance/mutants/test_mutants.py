"""The suite can fail: each mutant is killed by the rule that claims it, and each law kills one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.engines.laws import LAWS, EngineLaw
from conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend
from conformance.mutants.backends import WRONG_BACKENDS
from conformance.mutants.catalogue import MUTANTS
from conformance.mutants.mutant import Mutant, find, kills, laws_of, on_backend
from conformance.options import NOTHING_EXECUTED, REQUIREMENT_MISSING
from conformance.rules_of_tests import ALL_RULES
from conformance.subject import Subject

each_law = pytest.mark.parametrize("engine_law", LAWS, ids=lambda law: law.law.__name__)


@each_law
def test_right_engine_survives(engine_law: EngineLaw, minimal_subject: Subject) -> None:
    """No law finds anything in the engine that mutants are made from, nor in one with the mutants' own arithmetic."""
    assert find(minimal_subject, engine_law) is None
    with on_backend(lambda right: ArithmeticBackend(right, Arithmetic()))(minimal_subject) as subject:
        assert find(subject, engine_law) is None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutant_is_killed(mutant: Mutant, minimal_subject: Subject) -> None:
    """A law that speaks for the mutant's rule finds it."""
    assert kills(mutant, minimal_subject, laws_of(mutant.rule)), "no law of this rule finds it"


def test_catalogue() -> None:
    """There are mutants for every stage, under names of their own, and a law for each of their rules."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 40
    assert all(mutant.rule in ALL_RULES and laws_of(mutant.rule) for mutant in MUTANTS)
    claimed = {mutant.rule for mutant in MUTANTS}
    silent = [law.law.__name__ for law in LAWS if not claimed & set(law.rules)]
    assert silent == ["passes_are_counted", "tokens_are_what_was_decided", "runs_repeat"] or not silent


def run_suite(folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, dict[str, str]]]]:
    """Run the engines' laws as a user does; return the exit status and the report's rules."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-x", "-p", "no:cacheprovider", "--report", str(report)]
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

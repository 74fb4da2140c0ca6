"""The suite can fail: each mutant is killed by the rule that claims it, and each law kills one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulo_sd.conformance.engines.laws import LAWS, EngineLaw
from mulo_sd.conformance.engines.probes.catalogue import PROBES
from mulo_sd.conformance.engines.probes.probe import Probe
from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend
from mulo_sd.conformance.mutants.catalogue import MUTANTS, SIZED_MUTANTS
from mulo_sd.conformance.mutants.mutant import Mutant, find, is_killed, laws_of, on_backend
from mulo_sd.conformance.mutants.scores import OwnScores, ScoresBackend
from mulo_sd.conformance.rules_of_tests import ALL_RULES
from mulo_sd.conformance.subject import Subject

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mutants.md"
each_law = pytest.mark.parametrize("engine_law", LAWS, ids=lambda law: law.law.__name__)


@pytest.fixture(scope="module")
def right_subject(minimal_subject: Subject) -> Iterator[Subject]:
    """A right engine with the mutants' arithmetic: one for all laws, so that each decode is made once."""
    with on_backend(lambda right: ArithmeticBackend(right, Arithmetic()))(minimal_subject) as subject:
        yield subject


@pytest.mark.thorough
@each_law
def test_right_engine_survives(engine_law: EngineLaw, right_subject: Subject) -> None:
    """No law finds anything in a right engine, in the decodes that find mutants."""
    for settings in dict.fromkeys(mutant.settings for mutant in MUTANTS):
        assert find(right_subject, engine_law, settings) is None


@pytest.mark.thorough
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.law.__name__)
def test_right_scores_survive(probe: Probe, minimal_subject: Subject) -> None:
    """No probe finds anything in right engines with the mutants' arithmetic, or with the mutants' own scores."""
    for wrap in (lambda right: ArithmeticBackend(right, Arithmetic()), lambda right: ScoresBackend(right, OwnScores)):
        with on_backend(wrap)(minimal_subject) as subject:
            assert find(subject, probe) is None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutant_is_killed(mutant: Mutant, minimal_subject: Subject) -> None:
    """A law that speaks for the mutant's rule finds it."""
    assert is_killed(mutant, minimal_subject), "no law of this rule finds it"


def test_catalogue() -> None:
    """There are mutants for every stage, under names of their own, and a law for each of their rules."""
    names = [mutant.name for mutant in (*MUTANTS, *SIZED_MUTANTS)]
    assert len(set(names)) == len(names) >= 40
    assert all(mutant.rule in ALL_RULES and laws_of(mutant.rule) for mutant in MUTANTS)
    claimed = {mutant.rule for mutant in MUTANTS}
    laws: list[EngineLaw | Probe] = [*LAWS, *PROBES]
    assert [law.law.__name__ for law in laws if not claimed & set(law.rules)] == []


@pytest.mark.skipif(not PAGE.is_file(), reason="the page lies in the repository, not in a package")
def test_page_is_of_this_catalogue() -> None:
    """docs/mutants.md tells of these mutants, and that each was found."""
    rows = re.findall(r"^\| ([^|]+) \| ([A-Z0-9-]+) \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [(mutant.name, mutant.rule) for mutant in (*MUTANTS, *SIZED_MUTANTS)]
    assert [(name, rule) for name, rule, _ in rows] == listed
    assert not [name for name, _, laws in rows if "`" not in laws]
    named = " ".join(laws for _, _, laws in rows)
    assert [law.law.__name__ for law in PROBES if f"`{law.law.__name__}`" not in named] == []

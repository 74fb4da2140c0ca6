"""Mutants that large, oblong, unguided or shared passes alone show are killed on the models that show them."""

import pytest

from mulo_sd.conformance.engines.shape_laws import SHAPE_LAWS, ShapeLaw
from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend
from mulo_sd.conformance.mutants.catalogue import SIZED_MUTANTS
from mulo_sd.conformance.mutants.mutant import on_backend
from mulo_sd.conformance.mutants.sized import LARGE, OBLONG, SizedMutant, find_sized, is_sized_killed, laws_for
from mulo_sd.conformance.rules_of_tests import ALL_RULES
from mulo_sd.conformance.targets import open_target, preset_target


@pytest.mark.parametrize("mutant", SIZED_MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutant_is_killed(mutant: SizedMutant) -> None:
    """A law that speaks for the mutant's rule finds it, in the few shapes that the profile dev meets."""
    assert is_sized_killed(mutant, open_target(preset_target(mutant.preset, "fp32"))), "no law of this rule finds it"


@pytest.mark.thorough
@pytest.mark.parametrize("law", SHAPE_LAWS, ids=lambda law: law.law.__name__)
@pytest.mark.parametrize("preset", [LARGE, OBLONG])
def test_right_engine_survives(preset: str, law: ShapeLaw) -> None:
    """No law finds anything in a right engine with the mutants' arithmetic, which scores passes on the host."""
    right = open_target(preset_target(preset, "fp32"))
    with on_backend(lambda backend: ArithmeticBackend(backend, Arithmetic()))(right) as subject:
        assert find_sized(subject, law) is None


def test_catalogue() -> None:
    """Each law of shapes claims a mutant."""
    assert all(mutant.rule in ALL_RULES and laws_for(mutant) for mutant in SIZED_MUTANTS)
    claimed = {mutant.rule for mutant in SIZED_MUTANTS}
    assert [law.law.__name__ for law in SHAPE_LAWS if not claimed & set(law.rules)] == []

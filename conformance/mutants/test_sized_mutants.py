"""Mutants that large, oblong, unguided or shared passes alone show are killed on the models that show them."""

import pytest

from conformance.engines.shape_laws import SHAPE_LAWS
from conformance.mutants.catalogue import SIZED_MUTANTS
from conformance.mutants.sized import SizedMutant, is_sized_killed, laws_for
from conformance.rules_of_tests import ALL_RULES
from conformance.targets import open_target, preset_target


@pytest.mark.parametrize("mutant", SIZED_MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutant_is_killed(mutant: SizedMutant) -> None:
    """A law that speaks for the mutant's rule finds it, in the few shapes that the profile dev meets."""
    assert is_sized_killed(mutant, open_target(preset_target(mutant.preset, "fp32"))), "no law of this rule finds it"


def test_catalogue() -> None:
    """Each law of shapes claims a mutant."""
    assert all(mutant.rule in ALL_RULES and laws_for(mutant) for mutant in SIZED_MUTANTS)
    claimed = {mutant.rule for mutant in SIZED_MUTANTS}
    assert [law.law.__name__ for law in SHAPE_LAWS if not claimed & set(law.rules)] == []

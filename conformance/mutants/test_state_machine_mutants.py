"""The state machine of caches can fail."""

import pytest

from mulo_sd.conformance.engines.test_state_machine import drive
from mulo_sd.conformance.mutants.catalogue import MUTANTS
from mulo_sd.conformance.subject import Subject


@pytest.mark.parametrize(
    "name",
    [
        "compaction moves slots, but no keys and values",
        "the slot that held a position before stays visible",
        "positions are off by one after a scattered write",
        "a query sees by slot and not by position",
    ],
)
def test_it_finds_mutants(name: str, minimal_subject: Subject) -> None:
    """The machine stops at caches that are wrong."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    with mutant.make(minimal_subject) as wrong, pytest.raises(AssertionError, match="logits are off"):
        drive(wrong, shrink=False)

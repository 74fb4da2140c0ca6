"""Mutants that are right on the minimal preset: what they get wrong only large, oblong or shared passes ask for."""

from collections.abc import Sequence
from dataclasses import dataclass

from mulo_sd.conformance.engines.laws import EngineLaw
from mulo_sd.conformance.engines.probes.probe import Probe
from mulo_sd.conformance.engines.shape_laws import SHAPE_LAWS, ShapeLaw
from mulo_sd.conformance.engines.shapes import FEW
from mulo_sd.conformance.mutants.mutant import Kill, Mutant, find, laws_of
from mulo_sd.conformance.subject import Subject

LARGE, OBLONG = "minimal-large", "minimal-oblong"


@dataclass(frozen=True)
class SizedMutant(Mutant):
    """An engine with one defect that some shapes alone show.

    Attributes:
        preset: On whose models it is found.
    """

    preset: str = LARGE


def laws_for(mutant: SizedMutant) -> Sequence[ShapeLaw | EngineLaw | Probe]:
    """Return the laws of a rule: those of single graphs, and on the oblong models those of decodes, and probes."""
    of_graphs = [law for law in SHAPE_LAWS if mutant.rule in law.rules]
    return [*of_graphs, *(laws_of(mutant.rule) if mutant.preset == OBLONG else ())]


def find_sized(subject: Subject, law: ShapeLaw | EngineLaw | Probe) -> Kill | None:
    """Return where a law is broken, in the fewest shapes; None where it holds."""
    if not isinstance(law, ShapeLaw):
        return find(subject, law)
    try:
        law.law(subject, FEW, lambda shape: None)
    except AssertionError as error:
        return Kill(law, None, str(error))
    return None


def sized_kills(mutant: SizedMutant, subject: Subject) -> list[Kill]:
    """Return where the laws of its rule find a mutant, one place a law."""
    with mutant.make(subject) as wrong:
        attempts = [find_sized(wrong, law) for law in laws_for(mutant)]
    return [kill for kill in attempts if kill is not None]


def is_sized_killed(mutant: SizedMutant, subject: Subject) -> bool:
    """Return whether a law of its rule finds a mutant; the first that does ends the search."""
    with mutant.make(subject) as wrong:
        return any(find_sized(wrong, law) for law in laws_for(mutant))

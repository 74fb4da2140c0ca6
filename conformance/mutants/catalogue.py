"""All mutants, stage by stage."""

from conformance.mutants import cache, cycle, distribution, exactness, graphs, noise, schedule, shapes, shared
from conformance.mutants.mutant import Mutant
from conformance.mutants.sized import SizedMutant

MUTANTS: tuple[Mutant, ...] = (
    *distribution.MUTANTS,
    *noise.MUTANTS,
    *cache.MUTANTS,
    *graphs.MUTANTS,
    *cycle.MUTANTS,
    *schedule.MUTANTS,
    *exactness.MUTANTS,
)

# Those that are right on the minimal preset.
SIZED_MUTANTS: tuple[SizedMutant, ...] = (*shapes.MUTANTS, *shared.MUTANTS)

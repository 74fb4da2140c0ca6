"""All mutants, stage by stage."""

from conformance.mutants import cache, cycle, distribution, exactness, graphs, noise, schedule
from conformance.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *distribution.MUTANTS,
    *noise.MUTANTS,
    *cache.MUTANTS,
    *graphs.MUTANTS,
    *cycle.MUTANTS,
    *schedule.MUTANTS,
    *exactness.MUTANTS,
)

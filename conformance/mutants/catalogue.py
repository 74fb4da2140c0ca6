"""All mutants, stage by stage."""

from conformance.mutants import (
    bias,
    cache,
    cycle,
    distribution,
    edges,
    exactness,
    graphs,
    memories,
    noise,
    outputs,
    precision,
    schedule,
    uniforms,
)
from conformance.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *distribution.MUTANTS,
    *noise.MUTANTS,
    *cache.MUTANTS,
    *graphs.MUTANTS,
    *cycle.MUTANTS,
    *schedule.MUTANTS,
    *exactness.MUTANTS,
    *bias.MUTANTS,
    *precision.MUTANTS,
    *edges.MUTANTS,
    *uniforms.MUTANTS,
    *memories.MUTANTS,
    *outputs.MUTANTS,
)

"""All mutants, stage by stage."""

from mulo_sd.conformance.mutants import (
    bias,
    cache,
    cycle,
    distribution,
    drafted_trees,
    drafters,
    edges,
    exactness,
    graphs,
    guesses,
    judging,
    memories,
    methods,
    noise,
    outputs,
    precision,
    schedule,
    shapes,
    shared,
    sweeps,
    uniforms,
)
from mulo_sd.conformance.mutants.mutant import Mutant
from mulo_sd.conformance.mutants.sized import SizedMutant

MUTANTS: tuple[Mutant, ...] = (
    *distribution.MUTANTS,
    *noise.MUTANTS,
    *cache.MUTANTS,
    *graphs.MUTANTS,
    *cycle.MUTANTS,
    *schedule.MUTANTS,
    *sweeps.MUTANTS,
    *guesses.MUTANTS,
    *exactness.MUTANTS,
    *judging.MUTANTS,
    *methods.MUTANTS,
    *drafters.MUTANTS,
    *drafted_trees.MUTANTS,
    *bias.MUTANTS,
    *precision.MUTANTS,
    *edges.MUTANTS,
    *uniforms.MUTANTS,
    *memories.MUTANTS,
    *outputs.MUTANTS,
)

# Those that are right on the minimal preset.
SIZED_MUTANTS: tuple[SizedMutant, ...] = (*shapes.MUTANTS, *shared.MUTANTS)

"""The variants of the claims, to be drawn over many prompts once the sections are drawn.

Some of them follow from what was measured: the ZipAR windows that take about as many passes in all as the default,
and the cheapest chain of coarser drafters that keeps the score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from mulo_sd.conformance.study.rows import Row, Scene
from mulo_sd.conformance.study.sweeps import (
    AR_BY_SWEEPS,
    FEW_PASSES,
    FINE_BY_SWEEPS,
    FINE_LIMITED,
    NO_LIMIT,
    SWEEPS_ACCEPTED,
)
from mulo_sd.conformance.study.variant import CHAINS, RATIO_2, Chain, Variant, chain_name, zipar_name
from mulo_sd.conformance.study.variants import DEFAULT, ZIPAR_WINDOWS, variants_of

SECTION = "confirm"
SCORE_MARGIN = 0.03  # of the claims: an equal score is one no lower than this
CELLS, ROWS, COLUMNS = 32 * 32, 32, 32
Group = Mapping[Scene, Row]
SWEEP_CLAIMS = (FEW_PASSES, NO_LIMIT, SWEEPS_ACCEPTED, FINE_LIMITED, FINE_BY_SWEEPS, AR_BY_SWEEPS)


def zipar_passes(window: int) -> int:
    """Return how many passes ZipAR takes for the whole grid (SCHED-1)."""
    return COLUMNS + (ROWS - 1) * min(window, COLUMNS)


def equal_windows(default: Group) -> tuple[int, ...]:
    """Return the ZipAR windows of the controls on both sides of the default's passes; one where it takes just as many.

    No window takes exactly as many, as a rule: the narrower has fewer passes, and the wider, with more, is the
    harder to beat.
    """
    if not default:
        return ()
    total = fmean(row.nfe for row in default.values())
    narrower = max((window for window in ZIPAR_WINDOWS if zipar_passes(window) <= total), default=None)
    wider = min((window for window in ZIPAR_WINDOWS if zipar_passes(window) >= total), default=None)
    return tuple(sorted({window for window in (narrower, wider) if window is not None}))


def coarser_chains(groups: Mapping[Chain, Group]) -> list[Chain]:
    """Return the chain, other than ratio 2, with the fewest passes of those that keep ratio 2's score.

    By the measured scores over the prompts that all chains have; by score where none keeps it; every such
    chain where one was not measured.

    Args:
        groups: Rows by scene of every chain.
    """
    chains = [chain for chain in CHAINS if chain != RATIO_2]
    scenes = set.intersection(*(set(groups.get(chain, {})) for chain in CHAINS))
    if not scenes:
        return chains
    score = {chain: fmean(groups[chain][where].holds for where in scenes) for chain in CHAINS}
    passes = {chain: fmean(groups[chain][where].nfe for where in scenes) for chain in CHAINS}
    keeping = [chain for chain in chains if score[chain] >= score[RATIO_2] - SCORE_MARGIN]
    if keeping:
        return [min(keeping, key=lambda chain: passes[chain])]
    return [max(chains, key=lambda chain: score[chain])]


def fixed_variants() -> list[Variant]:
    """Return the controls that every confirmation has, whatever was measured."""
    kept = [item for item in variants_of(["controls"]) if item.settings.get("mode") != "zipar"]
    kept += [item for item in variants_of(["sweeps", "exact"]) if item.name in SWEEP_CLAIMS]
    # No ZipAR takes as few passes as decodes by sweeps; its narrowest window comes nearest.
    kept += [item for item in variants_of(["controls"]) if item.name == zipar_name(min(ZIPAR_WINDOWS))]
    return [replace(item, section=SECTION) for item in kept]


def confirm_variants(rows: Sequence[Row], identities: Mapping[tuple[str, str], str]) -> list[Variant]:
    """Return the section `confirm`, as far as what was measured determines it.

    Args:
        rows: All that was drawn.
        identities: Of (section, name), of the sections.
    """
    groups: dict[str, dict[Scene, Row]] = {}
    for row in rows:
        groups.setdefault(row.identity, {})[row.scene] = row

    def group(section: str, name: str) -> dict[Scene, Row]:
        return groups.get(identities.get((section, name), ""), {})

    default = group("controls", DEFAULT)
    windows = equal_windows(default)
    chains = coarser_chains({chain: group("cascade", chain_name(chain)) for chain in CHAINS})
    chosen = {("cascade", chain_name(chain)) for chain in (RATIO_2, *chains)}
    chosen |= {("controls", zipar_name(window)) for window in windows if window != min(ZIPAR_WINDOWS)}
    measured = [item for item in variants_of(["controls", "cascade"]) if (item.section, item.name) in chosen]
    return fixed_variants() + [replace(item, section=SECTION) for item in measured]

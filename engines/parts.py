"""The parts of which a mode is made (METHOD-1); the engines' twin of `reference.parts`.

Where drafts come from, what accepts them, and what becomes of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

# Where drafts come from: a coarser grid, the last sweep, a head on the target's hidden states, or a block of masks.
Draft = Literal["coarse", "sweep", "head", "tree", "static-tree", "block"]
Acceptance = Literal[
    "pooled",
    "coupled",
    "lossless",
    "grouped",
    "annealed",
    "lantern",
    "lantern-plus",
    "top-beta",
    "top-beta-sampled",
    "typical",
]
# What is decided of what is not accepted: up to the first in raster order, around each, in rounds, or row by row.
Correction = Literal["prefix", "local", "rounds", "rows"]
# What a cell behind the first rejection takes along as its next guess.
Carry = Literal["fresh", "same", "coupled", "kept"]


# Each node of a tree has a bit of its own in a set of 64, of which two are taken (METHOD-6).
MAX_NODES = 62


class Judging(NamedTuple):
    """How drafts are judged pass by pass: what accepts them, and the next guess of a later cell (METHOD-2)."""

    acceptance: Acceptance
    carry: Carry


# Of a coarse draft that is drawn row by row, as PJD draws (METHOD-5).
BY_ROWS = Judging("lossless", "kept")
# Of a drafter above the coarsest one that goes over its draft in rounds (METHOD-4).
IN_ROUNDS = Judging("lossless", "coupled")


@dataclass(frozen=True)
class Order:
    """The order in which the cells of a set are decided, by names of settings.

    Attributes:
        window: How far the row above must be ahead (SCHED-1); None is infinite, raster order.
        adaptive: Whether rows open when their first token is settled (SCHED-5); None never.
        by_island: Whether islands are decided at the same time (SCHED-2); None never.
        by: Whether by windows or by sweeps (SWEEP-1); None is by windows where there is one, else by sweeps.
        limit: Which sweep decides all that is left (SWEEP-4); None is none.
    """

    window: str | None = None
    adaptive: str | None = None
    by_island: str | None = None
    by: str | None = None
    limit: str | None = None


# The whole grid; the coarsest draft; what is resampled in raster order, and by islands.
ALONE = Order()
DRAFT = Order(window="draft_window", by="draft_by", limit="draft_sweeps")
RASTER = Order(limit="sweeps")
ISLANDS = Order(window="island_window", by_island="islands", by="resample_by", limit="sweeps")


# What every mode reads, what all that is made of parts does, and what cycles of some rows add.
SAMPLING = frozenset({"mode", "guidance_scale", "temperature", "top_k", "top_p"})
PARTS = frozenset({"draft_from", "accept_by", "correct_by"})
CYCLES = frozenset({"draft_rows", "look_ahead", "down_sampler", "refresh"})
SWEEPING = frozenset({"sweep_width", "first_guess"})
DRAFT_READS: Mapping[Draft, frozenset[str]] = {
    "coarse": frozenset(
        {"drafters", "up_sampler", "draft_by", "draft_window", "draft_sweeps", "jacobi_window", "row_lead"}
    )
    | SWEEPING,
    "sweep": frozenset(),  # by what accepts it: SWEEPING or CARRYING
    "head": frozenset({"draft_length"}),
    "tree": frozenset({"tree_nodes", "tree_depth", "tree_top"}),
    "static-tree": frozenset(),
    "block": frozenset({"block"}),
}
ACCEPTANCE_READS: Mapping[Acceptance, frozenset[str]] = {
    "pooled": frozenset({"tau", "neighbours", "accept_on"}),
    "coupled": frozenset(),
    "lossless": frozenset(),
    "grouped": frozenset({"group", "group_probability", "group_distance"}),
    "annealed": frozenset({"anneal", "anneal_rate"}),
    "lantern": frozenset({"lantern_neighbours", "lantern_delta"}),
    "lantern-plus": frozenset({"lantern_plus_neighbours", "lantern_factor"}),
    "top-beta": frozenset({"top_beta", "top_tau"}),
    "top-beta-sampled": frozenset({"top_beta", "top_tau"}),
    "typical": frozenset({"typical_threshold", "typical_factor"}),
}
CORRECTION_READS: Mapping[Correction, frozenset[str]] = {
    "prefix": frozenset(),
    "local": frozenset({"radius", "radius_nats", "anchor", "sweeps"}),
    "rounds": frozenset({"rounds"}),
    "rows": frozenset({"row_lead"}),
}

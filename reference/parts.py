"""The parts of which a mode is made (METHOD-1); the twin of `engines.parts`.

Where drafts come from, what accepts them, and what becomes of the others.
"""

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

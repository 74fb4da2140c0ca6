"""Drafts from a block drafter: `block` tokens in one pass, each the likeliest (MODE-SPECDEC).

SpecDec (Xia et al., arXiv 2203.16487; rules as read in its published code). Its drafts are certain; what the target
makes of them under `accept_by` top-beta is near greedy decoding, and greedy at top_beta 1 and top_tau 0. It trains a
small transformer of the target's grid.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.loop.drafts.source import DrawnFrom
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.rules.corrections import Window
from mulo_sd.engines.rules.noise import BLOCK


class BlockDraft:
    """Keeps the block drafter's own grid and cache beside the target's.

    Args:
        state: Of the target.
        entry: The block drafter, from the bundle's manifest.
        null: What guidance takes for no condition, as `ModelState` takes it.
    """

    def __init__(self, state: ModelState, entry: TransformerEntry, null: NDArray[np.generic] | None) -> None:
        self.state = state
        self.own = ModelState(
            backend=state.backend,
            entry=entry,
            number=BLOCK,
            condition=state.condition,
            null=null,
            settings=state.settings,
            seed=state.seed,
            trace=state.trace,
            record_logits=state.record_logits,
        )
        self.mask = entry.vocabulary - 1
        self.read_to = 0

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Draft the window's first cells in one pass."""
        cells = windows[0].cells[: self.state.settings.block]
        decided = list(range(self.read_to, cells[0]))
        self.own.decide(decided, self.state.grid[decided])
        self.read_to = cells[0]
        self.own.propose(cells[:-1], np.full(len(cells) - 1, self.mask))
        answer = self.own.query(cells, cells[:-1])
        self.state.draft(cells, answer.best(self.own.distribution, self.mask))
        return dict.fromkeys(cells)

    def carry(self, carried: DrawnFrom) -> None:
        """Keep nothing: each pass drafts anew."""

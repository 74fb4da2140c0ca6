"""Drafts from a block drafter: `block` tokens in one pass, each the likeliest (MODE-SPECDEC).

SpecDec (Xia et al., arXiv 2203.16487; rules as read in its published code). Its drafts are certain; what the target
makes of them under `accept_by` top-beta is near greedy decoding, and greedy at top_beta 1 and top_tau 0. It trains a
small transformer of the target's grid.
"""

from collections.abc import Sequence

import torch

from mulo_sd.reference.block import mask_code
from mulo_sd.reference.corrections import Window
from mulo_sd.reference.drafts.source import DrawnFrom
from mulo_sd.reference.noise import BLOCK
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.transformer import Transformer


class BlockDraft:
    """Keeps the block drafter's own grid and cache beside the target's.

    Args:
        state: Of the target.
        model: The block drafter.
    """

    def __init__(self, state: ModelState, model: Transformer) -> None:
        self.state = state
        self.own = ModelState(
            model, BLOCK, state.condition, state.settings, state.seed, state.trace, state.record_logits
        )
        self.read_to = 0

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Draft the window's first cells in one pass."""
        cells = windows[0].cells[: self.state.settings.block]
        decided = range(self.read_to, cells[0])
        self.own.decide(decided, self.state.grid[decided.start : decided.stop])
        self.read_to = cells[0]
        mask = mask_code(self.own.model.config)
        self.own.propose(cells[:-1], torch.full((len(cells) - 1,), mask))
        log_probs = self.own.log_probs(self.own.query(cells, cells[:-1]))
        self.state.propose(cells, log_probs[:, :mask].argmax(dim=-1))
        return dict.fromkeys(cells)

    def carry(self, carried: DrawnFrom) -> None:
        """Keep nothing: each pass drafts anew."""

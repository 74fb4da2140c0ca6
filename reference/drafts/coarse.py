"""Drafts from a coarser grid, up-sampled (SCALE-1): each is certain, and stays the draft until its cell is decided."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mulo_sd.reference.corrections import Window
from mulo_sd.reference.drafts.source import DrawnFrom
from mulo_sd.reference.state import ModelState


class CoarseDraft:
    """Drafts the tokens of a proposal; in rounds the last round's tokens take their place (METHOD-4).

    Args:
        state: Of the target.
        proposal: Int[N], of the whole grid.
        in_rounds: Whether that is so.
    """

    def __init__(self, state: ModelState, proposal: Tensor, in_rounds: bool) -> None:
        self.state, self.proposal, self.in_rounds = state, proposal, in_rounds
        self.drawn_from: dict[int, Tensor | None] = {}

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Put the proposal's tokens back where a pass drew others."""
        cells = [cell for window in windows for cell in window.cells]
        if self.in_rounds:
            return {cell: self.drawn_from.get(cell) for cell in cells}
        changed = [cell for cell in cells if int(self.state.grid[cell]) != int(self.proposal[cell])]
        if changed:
            self.state.propose(changed, self.proposal[torch.tensor(changed)])
        return dict.fromkeys(cells)

    def carry(self, carried: DrawnFrom) -> None:
        """Keep what a round drew."""
        self.drawn_from.update(carried)

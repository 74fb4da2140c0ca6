"""Exact verification: sweeps over the whole proposal draw the target's own image (MODE-EXACT)."""

import torch

from mulo_sd.reference.execute import execute
from mulo_sd.reference.parts import Order
from mulo_sd.reference.schedule import schedule_of
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Proposal, Verdict


def verify_exactly(state: ModelState, proposal: Proposal) -> Verdict:
    """Decide the proposal's window by sweeps whose first guesses it is: the tokens are those of raster order.

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
    """
    first_pass = len(state.trace.passes)
    cells = torch.zeros(state.height, state.width, dtype=torch.bool)
    cells[proposal.first_row : proposal.last_row] = True
    execute(state, schedule_of(cells, Order(), state.settings))
    kept = state.rows(proposal.first_row, proposal.last_row) == proposal.up_sampled
    return Verdict(first_pass, kept.double(), kept, torch.zeros(kept.shape, dtype=torch.long), ~kept)

"""Verification pass by pass: of a whole proposal by sweeps (MODE-EXACT), or window after window (METHOD-2)."""

import torch
from torch import Tensor

from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.corrections import Rounds, correction_of
from mulo_sd.reference.drafts import CoarseDraft
from mulo_sd.reference.execute import execute
from mulo_sd.reference.parts import IN_ROUNDS, Order
from mulo_sd.reference.schedule import schedule_of
from mulo_sd.reference.speculate import speculate
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Proposal, Verdict


def verify_exactly(state: ModelState, proposal: Proposal) -> Verdict:
    """Decide the proposal's window by sweeps whose first guesses it is: the tokens are those of raster order.

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
    """
    first_pass = len(state.trace.passes)
    execute(state, schedule_of(_cells(state, proposal), Order(), state.settings))
    return _verdict(state, proposal, first_pass)


def verify_by_speculation(state: ModelState, proposal: Proposal, codes: Codes) -> Verdict:
    """Decide the proposal's window with its tokens as drafts (METHOD-2, METHOD-4).

    Args:
        state: The target, as the settings choose, or a drafter above the coarsest one, which
            goes over its draft in rounds. The proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        codes: The codebook.
    """
    first_pass, settings = len(state.trace.passes), state.settings
    cells, judging = _cells(state, proposal), settings.decoding.judging if state.number == 0 else IN_ROUNDS
    correction = correction_of(cells, settings.decoding.correction if state.number == 0 else "rounds", settings)
    source = CoarseDraft(state, state.grid.clone(), isinstance(correction, Rounds))
    speculate(state, correction, source, codes, judging)
    return _verdict(state, proposal, first_pass)


def _cells(state: ModelState, proposal: Proposal) -> Tensor:
    cells = torch.zeros(state.height, state.width, dtype=torch.bool)
    cells[proposal.first_row : proposal.last_row] = True
    return cells


def _verdict(state: ModelState, proposal: Proposal, first_pass: int) -> Verdict:
    """Return as kept the draft tokens that are the target's own."""
    kept = state.rows(proposal.first_row, proposal.last_row) == proposal.up_sampled
    return Verdict(first_pass, kept.double(), kept, torch.zeros(kept.shape, dtype=torch.long), ~kept)

"""Verification pass by pass: of a whole proposal by sweeps (MODE-EXACT), or window after window (METHOD-2)."""

import torch
from torch import Tensor

from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.corrections import correction_of
from mulo_sd.reference.drafts import draft_source
from mulo_sd.reference.execute import execute
from mulo_sd.reference.models import Models
from mulo_sd.reference.parts import Order
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


def verify_by_speculation(state: ModelState, proposal: Proposal, models: Models, codes: Codes) -> Verdict:
    """Decide the proposal's window with its tokens as drafts, by the acceptance and the correction chosen (METHOD-2).

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        models: Of the decode.
        codes: The codebook.
    """
    first_pass = len(state.trace.passes)
    source = draft_source(state, models, state.grid.clone())
    correction = correction_of(_cells(state, proposal), state.settings)
    speculate(state, correction, source, codes, state.settings.decoding.judging)
    return _verdict(state, proposal, first_pass)


def _cells(state: ModelState, proposal: Proposal) -> Tensor:
    cells = torch.zeros(state.height, state.width, dtype=torch.bool)
    cells[proposal.first_row : proposal.last_row] = True
    return cells


def _verdict(state: ModelState, proposal: Proposal, first_pass: int) -> Verdict:
    """Return as kept the draft tokens that are the target's own."""
    kept = state.rows(proposal.first_row, proposal.last_row) == proposal.up_sampled
    return Verdict(first_pass, kept.double(), kept, torch.zeros(kept.shape, dtype=torch.long), ~kept)

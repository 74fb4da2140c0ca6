"""Verification pass by pass, of the whole proposal or window after window; the engines' twin of `reference.exact`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.loop.drafts import CoarseDraft
from mulo_sd.engines.loop.execute import execute
from mulo_sd.engines.loop.speculate import Speculator
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.parts import Order
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.corrections import correction_of
from mulo_sd.engines.rules.schedule import schedule_of
from mulo_sd.engines.rules.trace import Proposal, Verdict


def verify_exactly(state: ModelState, proposal: Proposal, progress: Callable[[int], None]) -> Verdict:
    """Decide the proposal's window by sweeps whose first guesses it is: the tokens are those of raster order.

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        progress: Told how many cells each sweep decided.
    """
    first_pass = len(state.trace.passes)
    schedule = schedule_of(_cells(state, proposal), Order(), state.settings, state.auto_width)
    execute(state, schedule, progress=progress)
    return _verdict(state, proposal, first_pass)


def verify_by_speculation(
    state: ModelState, proposal: Proposal, codes: Codes, progress: Callable[[int], None]
) -> Verdict:
    """Decide the proposal's window with its tokens as drafts, by the acceptance and the correction chosen (METHOD-2).

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        codes: The codebook.
        progress: Told how many cells each pass decided.
    """
    first_pass = len(state.trace.passes)
    correction = correction_of(_cells(state, proposal), state.settings)
    judging = state.settings.decoding.judging
    Speculator(state, correction, CoarseDraft(state, state.grid.copy()), codes, judging).run(progress)
    return _verdict(state, proposal, first_pass)


def _cells(state: ModelState, proposal: Proposal) -> NDArray[np.bool_]:
    cells = np.zeros((state.height, state.width), dtype=np.bool_)
    cells[proposal.first_row : proposal.last_row] = True
    return cells


def _verdict(state: ModelState, proposal: Proposal, first_pass: int) -> Verdict:
    """Return as kept the draft tokens that are the target's own."""
    kept = state.rows(proposal.first_row, proposal.last_row) == proposal.up_sampled
    radii = np.zeros(kept.shape, dtype=np.int64)
    return Verdict(first_pass, kept.astype(np.float32), kept, radii, ~kept)

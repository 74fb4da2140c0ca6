"""Verification pass by pass, of the whole proposal or window after window; the engines' twin of `reference.exact`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.loop.drafts import CoarseDraft
from mulo_sd.engines.loop.execute import execute
from mulo_sd.engines.loop.speculate import Speculator
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.parts import IN_ROUNDS, Order
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.corrections import Rounds, correction_of
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
    """Decide the proposal's window with its tokens as drafts (METHOD-2, METHOD-4).

    Args:
        state: The target, as the settings choose, or a drafter above the coarsest one, which
            goes over its draft in rounds. The proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        codes: The codebook.
        progress: Told how many cells each pass decided.
    """
    first_pass, settings = len(state.trace.passes), state.settings
    cells, judging = _cells(state, proposal), settings.decoding.judging if state.number == 0 else IN_ROUNDS
    correction = correction_of(cells, settings.decoding.correction if state.number == 0 else "rounds", settings)
    source = CoarseDraft(state, state.grid.copy(), isinstance(correction, Rounds))
    Speculator(state, correction, source, codes, judging).run(progress)
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

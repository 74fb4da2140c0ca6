"""Exact verification: sweeps draw the target's own image (MODE-EXACT); twin of `reference.exact`."""

from collections.abc import Callable

import numpy as np

from mulo_sd.engines.loop.execute import execute
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.parts import Order
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
    cells = np.zeros((state.height, state.width), dtype=np.bool_)
    cells[proposal.first_row : proposal.last_row] = True
    execute(state, schedule_of(cells, Order(), state.settings, state.auto_width), progress=progress)
    kept = state.rows(proposal.first_row, proposal.last_row) == proposal.up_sampled
    radii = np.zeros(kept.shape, dtype=np.int64)
    return Verdict(first_pass, kept.astype(np.float32), kept, radii, ~kept)

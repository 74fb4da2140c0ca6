"""Mutants of MODE-EXACT, which draws MODE-AR's own image from the draft."""

from dataclasses import replace
from typing import Any

import numpy as np

from mulo_sd.conformance.mutants.mutant import Mutant, patched, swept
from mulo_sd.engines.loop import decode, exact
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.parts import Order
from mulo_sd.engines.rules.sweeps import Sweeps


def _limited(right: Any, *arguments: Any) -> Any:
    """Decide in the second sweep whatever is left."""
    schedule = right(*arguments)
    schedule.limit = 2
    return schedule


def _by_windows(right: Any, cells: Any, order: Order, *rest: Any) -> Any:
    """Let rows overlap, as in the draft."""
    return right(cells, replace(order, window="draft_window", by=None), *rest)


def _by_rows(right: Any, state: ModelState, schedule: Any, **named: Any) -> None:
    """Decide each row by sweeps of its own, side by side: a row begins before the one above is decided."""
    cells = np.flatnonzero(np.ones((state.height, state.width), dtype=np.bool_))
    sweeps = Sweeps(np.ones((state.height, state.width), dtype=np.bool_), False, schedule.width, schedule.limit)
    sweeps.undecided = np.split(cells, state.height)
    right(state, sweeps, **named)


def _last_cell_stays(right: Any, state: ModelState, proposal: Any, *rest: Any) -> Any:
    """Leave the last cell as it was drafted."""
    verdict = right(state, proposal, *rest)
    state.grid[-1] = proposal.up_sampled.flat[-1]
    return verdict


def _all_kept(right: Any, *arguments: Any) -> Any:
    """Tell that the whole draft stayed."""
    verdict = right(*arguments)
    kept = np.ones_like(verdict.kept)
    return replace(verdict, kept=kept, pooled_probs=kept.astype(np.float32), resampled=~kept)


def _draft_forgotten(right: Any, state: ModelState, proposal: Any, *rest: Any) -> Any:
    """Begin without the draft: the image is the same, but its passes are those of MODE-AR."""
    cells = range(proposal.first_row * state.width, proposal.last_row * state.width)
    state.grid[cells.start : cells.stop] = -1
    state.unfed.difference_update(cells)
    return right(state, proposal, *rest)


def _noise_of_the_drafter(right: Any, state: ModelState, proposal: Any, *rest: Any) -> Any:
    """Draw with the noise of another stream: the drafter's."""
    noise, own = state.noise, state.noise.stream
    noise.stream = own + 2
    noise.blocks.clear()
    try:
        return right(state, proposal, *rest)
    finally:
        noise.stream = own


MUTANTS = swept(
    Mutant("lossless decoding has a limit of sweeps", "MODE-EXACT", patched(exact, "schedule_of", _limited)),
    Mutant("lossless decoding goes by windows", "MODE-EXACT", patched(exact, "schedule_of", _by_windows)),
    Mutant("lossless decoding takes rows for regions", "MODE-EXACT", patched(exact, "execute", _by_rows)),
    Mutant("the last drafted token stays", "MODE-EXACT", patched(decode, "verify_exactly", _last_cell_stays)),
    Mutant("every drafted token is said to stay", "MODE-EXACT", patched(decode, "verify_exactly", _all_kept)),
    Mutant("lossless decoding forgets its draft", "SWEEP-5", patched(decode, "verify_exactly", _draft_forgotten)),
    Mutant(
        "lossless decoding draws with the drafter's noise",
        "RNG-2",
        patched(decode, "verify_exactly", _noise_of_the_drafter),
    ),
)

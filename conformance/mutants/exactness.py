"""Mutants of MODE-EXACT."""

from typing import Any

import numpy as np

from mulo_sd.conformance.mutants.mutant import Mutant, patched
from mulo_sd.engines.loop import decode, exact
from mulo_sd.engines.loop.state import ModelState


def _pooled_acceptance(right: Any, state: ModelState, logits: Any, draft: Any, near: Any) -> Any:
    """Accept by the probability of a neighbourhood: here of the code and the one after it."""
    return right(state, logits, draft, np.stack([near[:, 0], np.roll(near[:, 0], -1)], axis=1))


def _all_of_p(right: Any, state: ModelState, cell: int, logits: Any, token: int) -> bool:
    """Draw from p with the rejected token still in it."""
    return bool(right(state, cell, logits, -1 if token else 1))


def _draft_stays(right: Any, state: ModelState, cell: int, logits: Any, token: int) -> bool:
    """Keep the rejected token."""
    state.keep([cell])
    return False


def _one_window(right: Any, state: ModelState, *arguments: Any) -> Any:
    """Score all of the rest each time."""
    settings, state.settings = state.settings, state.settings.changed(exact_window=None)
    try:
        return right(state, *arguments)
    finally:
        state.settings = settings


def _not_verified_again(right: Any, state: ModelState, cell: int, logits: Any, token: int) -> bool:
    """Draw the replacement with the noise of the cell after it."""
    rows = state.noise.rows
    state.noise.rows = lambda cells: rows([min(cell + 1, state.noise.cells - 1) for cell in cells])  # type: ignore[method-assign]
    try:
        return bool(right(state, cell, logits, token))
    finally:
        del state.noise.rows


MUTANTS = (
    Mutant("exact acceptance pools", "MODE-EXACT", patched(exact, "judge", _pooled_acceptance)),
    Mutant(
        "exact acceptance is greedy",
        "MODE-EXACT",
        patched(exact, "uniform_noise", lambda right, *arguments: np.full_like(right(*arguments), 0.5)),
    ),
    Mutant("a rejected draft token may be drawn again", "MODE-EXACT", patched(exact, "_replace", _all_of_p)),
    Mutant("a rejected draft token stays", "MODE-EXACT", patched(exact, "_replace", _draft_stays)),
    Mutant("the exact window is ignored", "KV-3", patched(decode, "verify_exactly", _one_window)),
    Mutant(
        "a replacement is drawn with its successor's noise",
        "MODE-EXACT",
        patched(exact, "_replace", _not_verified_again),
    ),
)

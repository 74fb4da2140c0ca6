"""Mutants of rows side by side, chains, block drafters and zeros (METHOD-5, METHOD-6, MODE-UNMASKED)."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np

from mulo_sd.conformance.engines.cases import METHOD_SETTINGS
from mulo_sd.conformance.mutants.methods import of
from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched
from mulo_sd.engines.loop import speculate, state
from mulo_sd.engines.loop.drafts import BlockDraft, HeadDraft
from mulo_sd.engines.loop.drafts.head_state import Drafted, HeadState
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.passes.cached import CachedPasses
from mulo_sd.engines.rules.corrections import Rows
from mulo_sd.engines.rules.slots import SlotTable

HEAD_DRAFTS = import_module("mulo_sd.engines.loop.drafts.head")


def _rows(**changes: Callable[[int], int]) -> Make:
    """Make rows of other numbers than the settings'."""

    def made(right: Any, rows: Rows, cells: Any, width: int, length: int, lead: int) -> None:
        right(rows, cells, width, length, lead)
        for name, change in changes.items():
            setattr(rows, name, change(getattr(rows, name)))

    return patched(Rows, "__init__", made)


def _windows_of_rows(change: Callable[[Rows, int, Any], Any]) -> Make:
    """Change the window of each open row."""

    def windows(right: Any, rows: Rows) -> Any:
        return [(row, change(rows, row, window)) for row, window in right(rows)]

    return patched(Rows, "_open_windows", windows)


def _overtakes(rows: Rows, row: int, window: Any) -> Any:
    """Let a row go a cell further than the one above."""
    end = rows.rows[row][-1]
    last = window.cells[-1]
    if window.draws or len(window.cells) >= rows.length or last == end:
        return window
    return replace(window, cells=[*window.cells, last + 1], drafted=window.drafted + 1)


def first_attempt(right: Any, seed: int, stream: int, cells: Any, vocabulary: int, attempt: Any = 0) -> Any:
    """Draw by the noise of attempt 0."""
    return right(seed, stream, cells, vocabulary, 0)


def _target_states(right: Any, head: HeadState, cell: int) -> Drafted:
    """Go on with the target's state of the token before, and not with the head's own."""
    drafted: Drafted = right(head, cell)
    last = cell + head.prefix_length - 1
    return drafted._replace(hidden=head.state.hidden[:, [last]])


def _own_token_state(right: Any, head: HeadState, positions: Any, tokens: Any, features: Any, *parents: Any) -> Any:
    """Feed decided tokens with the hidden state two tokens before."""
    if len(positions) and not parents and features.shape[1] > 1:
        features = np.concatenate([features[:, :1], features[:, :-1]], axis=1)
    return right(head, positions, tokens, features, *parents)


def _short(right: Any, source: BlockDraft | HeadDraft, windows: Any) -> Any:
    """Draft a token less than a block or a chain has."""
    settings = source.state.settings
    changes = {"block": settings.block - 1, "draft_length": settings.draft_length - 1}
    source.state.settings = settings.model_copy(update=changes)
    try:
        return right(source, windows)
    finally:
        source.state.settings = settings


def _reads_masks(right: Any, block: BlockDraft, windows: Any) -> Any:
    """Feed the block drafter masks in place of what was decided."""
    own = block.own

    def decide(cells: Any, tokens: Any) -> None:
        ModelState.decide(own, cells, np.full_like(tokens, block.mask))

    with patch.object(own, "decide", decide):
        return right(block, windows)


def _zeros(right: Any, *arguments: Any) -> Any:
    """Hide positions that are not decoded yet."""
    return right(*arguments[:-1], False)


_PJD, _EAGLE, _SPECDEC = of("pjd"), of("eagle"), of("specdec")
_ZEROS = tuple(item for item in METHOD_SETTINGS if item.decoding.sees_zeros)

MUTANTS = (
    Mutant(
        "a row sees the drafts of other rows",
        "METHOD-5",
        patched(speculate, "row_drafts", lambda right, windows: None),
        _PJD,
    ),
    Mutant(
        "a row's decided tokens stay its own",
        "METHOD-5",
        patched(CachedPasses, "open", lambda right, session, positions: None),
        _PJD,
    ),
    Mutant("a row opens a token early", "MODE-PJD", _rows(lead=lambda lead: lead - 1), _PJD),
    Mutant("a row opens a token late", "MODE-PJD", _rows(lead=lambda lead: lead + 1), _PJD),
    Mutant(
        "a lower row decides the cell that it rejects",
        "MODE-PJD",
        _windows_of_rows(lambda rows, row, window: replace(window, draws=True)),
        _PJD,
    ),
    Mutant("a row overtakes the one above", "MODE-PJD", _windows_of_rows(_overtakes), _PJD),
    Mutant(
        "the last cell of a row's window has a draft",
        "MODE-PJD",
        _windows_of_rows(lambda rows, row, window: replace(window, drafted=len(window.cells))),
        _PJD,
    ),
    Mutant(
        "a chain is drawn by the same noise again",
        "MODE-EAGLE",
        patched(HEAD_DRAFTS, "gumbel_noise", first_attempt),
        _EAGLE,
    ),
    Mutant(
        "a chain goes on from the target's state", "MODE-EAGLE", patched(HeadState, "catch_up", _target_states), _EAGLE
    ),
    Mutant(
        "a head is fed states of one token before", "MODE-EAGLE", patched(HeadState, "_run", _own_token_state), _EAGLE
    ),
    Mutant("a chain is a token short", "MODE-COOLSD", patched(HeadDraft, "propose", _short), of("cool-sd")),
    Mutant("a block is a token short", "MODE-SPECDEC", patched(BlockDraft, "propose", _short), _SPECDEC),
    Mutant(
        "a block drafter reads masks for what was decided",
        "MODE-SPECDEC",
        patched(BlockDraft, "propose", _reads_masks),
        _SPECDEC,
    ),
    Mutant(
        "half of the positions not decoded yet are hidden",
        "MODE-UNMASKED",
        patched(SlotTable, "place_zeros", lambda right, table, positions: right(table, positions[::2])),
        _ZEROS,
    ),
    Mutant(
        "positions not decoded yet are hidden", "MODE-UNMASKED", patched(state, "TransformerSession", _zeros), _ZEROS
    ),
)

"""The laws fail where a rule of schedules, the adaptive window, the anchor, radii or cascades is broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from mulo_sd.conformance.rules import cycle_laws, opening_laws
from mulo_sd.conformance.rules import decode_laws as laws
from mulo_sd.conformance.rules.planting import Planted, around, is_found
from mulo_sd.conformance.strategies.decodes import (
    ADAPTIVE,
    ANCHORED,
    ISLANDS,
    MIXED,
    PARALLEL,
    UNEVEN,
    WIDE_CASCADE,
    ZIPPED,
)
from mulo_sd.reference import decode as decoding
from mulo_sd.reference import execute as executing
from mulo_sd.reference import schedule as schedules
from mulo_sd.reference import state as states
from mulo_sd.reference import verify as verifying
from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.execute import Openings
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Proposal


def first_of_the_row(right: Callable[..., int], state: ModelState, cell: int) -> int:
    """Let a row's first token stand in for its last."""
    return right(state, cell if int(state.grid[cell]) >= 0 else cell // state.width * state.width)


def rows_open_at_once(right: Callable[..., Any], openings: Openings, cells: list[int], log_probs: Tensor) -> Any:
    """Accept every opening token unseen."""
    return cells, openings.state.sample(cells, log_probs)


def same_attempt(
    right: Callable[..., Tensor], state: ModelState, cells: Any, log_probs: Tensor, *attempt: int, **rest: Any
) -> Tensor:
    """Draw a token anew with the noise of the first attempt."""
    return right(state, cells, log_probs)


def coarsest_rows_stay(right: Callable[..., Tensor], decoder: Any, *rows: int) -> Tensor:
    """Let D_r end at the first drafter."""
    states, decoder.states = decoder.states, decoder.states[:2]
    rows_of_the_first = right(decoder, *rows)
    decoder.states = states
    return rows_of_the_first


def drafted_ahead_is_decided(right: Callable[..., Proposal], decoder: Any, level: int, *rest: Any) -> Proposal:
    """Let what was drafted ahead enter the cache with the next passes that see it."""
    proposal = right(decoder, level, *rest)
    for low in decoder.states[level + 1 :]:
        low.pending.update((low.grid >= 0).nonzero().flatten().tolist()[-low.width :])
    return proposal


def half_rows_are_skipped(right: Callable[..., Proposal], decoder: Any, level: int, first: int, *rest: Any) -> Proposal:
    """Draft no row again of which half is decided."""
    proposal = right(decoder, level, first, *rest)
    wrong = -(-first // decoder.scale_ratio(level))
    return replace(
        proposal, draft_first_row=wrong, draft_tokens=proposal.draft_tokens[wrong - proposal.draft_first_row :]
    )


# Rows that were drafted ahead are drafted again together with the next one, by a narrow window.
AHEAD_BY_WINDOWS = MIXED._replace(settings=replace(MIXED.settings, draft_window=1))
PLANTED = {
    "another token stands in": Planted(
        around(ModelState, "_fed_token", first_of_the_row), laws.nothing_seen_is_gone, ZIPPED
    ),
    "a narrower window": Planted(
        around(schedules, "Schedule", lambda right, cells, window, by_island: right(cells, 1, by_island)),
        laws.passes_are_counted,
        ZIPPED,
    ),
    "a narrower window of the drafter": Planted(
        around(schedules, "Schedule", lambda right, cells, window, by_island: right(cells, 2, by_island)),
        cycle_laws.whole_rows_are_drafted,
        PARALLEL,
    ),
    "islands are forgotten": Planted(
        around(schedules, "Schedule", lambda right, cells, window, by_island: right(cells, window, False)),
        cycle_laws.cycles_in_order,
        ISLANDS,
    ),
    "islands are forgotten, by count": Planted(
        around(schedules, "Schedule", lambda right, cells, window, by_island: right(cells, window, False)),
        laws.passes_are_counted,
        ISLANDS,
    ),
    "opening tokens are not held": Planted(
        around(Openings, "sample", rows_open_at_once), laws.passes_feed_exactly, ADAPTIVE
    ),
    "opening tokens are drawn with the same noise": Planted(
        around(ModelState, "draw", same_attempt), opening_laws.repredictions_follow, ADAPTIVE
    ),
    "opening tokens are accepted by other noise": Planted(
        around(executing, "acceptance_stream", lambda right, model: 2 * model),
        opening_laws.repredictions_follow,
        ADAPTIVE,
    ),
    "the anchor repels": Planted(
        around(Anchor, "bonus", lambda right, anchor, cells: -right(anchor, cells)),
        laws.samples_follow_from_logits,
        ANCHORED,
    ),
    "the anchor of another cell": Planted(
        around(Anchor, "bonus", lambda right, anchor, cells: right(anchor, [anchor.first_cell] * len(cells))),
        laws.samples_follow_from_logits,
        ANCHORED,
    ),
    "twice the entropy": Planted(
        around(verifying, "entropy", lambda right, log_probs: 2 * right(log_probs)), cycle_laws.radii_follow, UNEVEN
    ),
    "the fixed radius": Planted(
        around(verifying, "adaptive_radii", lambda right, entropies, radius, nats: right(entropies, radius, 0)),
        cycle_laws.radii_follow,
        UNEVEN,
    ),
    "a rejection reaches by the fixed radius": Planted(
        around(verifying, "expand", lambda right, mask, radii, *rows: right(mask, 2, *rows)),
        cycle_laws.rejections_grow,
        UNEVEN,
    ),
    "D_r ends at the first drafter": Planted(
        around(decoding._Decoder, "_down_sample", coarsest_rows_stay), laws.passes_feed_exactly, WIDE_CASCADE
    ),
    "D_r ends at the first drafter, by what is up-sampled": Planted(
        around(decoding._Decoder, "_down_sample", coarsest_rows_stay), cycle_laws.scaling_uses_known_rows, WIDE_CASCADE
    ),
    "what is drafted ahead is decided": Planted(
        around(decoding._Decoder, "_propose", drafted_ahead_is_decided), laws.passes_feed_exactly, AHEAD_BY_WINDOWS
    ),
    "half rows are not drafted again": Planted(
        around(decoding._Decoder, "_propose", half_rows_are_skipped), cycle_laws.whole_rows_are_drafted, WIDE_CASCADE
    ),
    "one stream for all drafters": Planted(
        around(states, "sample_stream", lambda right, model: right(min(model, 1))),
        laws.samples_follow_from_logits,
        WIDE_CASCADE,
    ),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_planted_defects_are_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each law holds for a decode of the reference, and for none with the planted defect."""
    is_found(planted, monkeypatch)

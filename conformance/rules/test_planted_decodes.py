"""Each law about a whole decode fails where a defect is planted in the reference."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from conformance.rules import cycle_laws
from conformance.rules import decode_laws as laws
from conformance.strategies.decodes import (
    ACCEPTED,
    ADAPTIVE,
    AHEAD,
    ANCHORED,
    AUTOREGRESSIVE,
    FILTERED,
    GIVEN,
    ISLANDS,
    MIXED,
    PARALLEL,
    REFRESHED,
    UNEVEN,
    WIDE_CASCADE,
    ZIPPED,
    Case,
)
from reference import decode as decoding
from reference import execute as executing
from reference import models as scaling
from reference import state as states
from reference import verify as verifying
from reference.anchor import Anchor
from reference.cache import KVCache
from reference.execute import Openings
from reference.schedule import Schedule
from reference.state import ModelState
from reference.trace import Proposal

Patch = Callable[[pytest.MonkeyPatch], None]


class Planted(NamedTuple):
    """A defect, a law that finds it, and a decode in which it shows."""

    defect: Patch
    law: laws.Law
    case: Case


def around(owner: object, name: str, wrong: Callable[..., Any]) -> Patch:
    """Replace a function by wrong(the right one, its arguments...)."""
    right = getattr(owner, name)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: wrong(right, *args, **kwargs))

    return patch


def decided_tokens_are_not_fed(right: Callable[..., None], state: ModelState, *rest: Any) -> None:
    """Forget KV-3: a resampled token enters the cache only as somebody's predecessor."""
    right(state, *rest)
    state.pending.clear()


def last_kept_token_is_not_fed(right: Callable[..., None], state: ModelState, cells: Sequence[int]) -> None:
    """Forget KV-3 for the draft token that the verification had no need to feed."""


def rescaled_rows_stay_out(right: Callable[..., None], state: ModelState, cells: Sequence[int], tokens: Tensor) -> None:
    """Let the drafter keep its own rows where the verified ones should be."""
    if state.number == 0 or len(cells) == 1:
        right(state, cells, tokens)


def without_guidance(right: Callable[..., Tensor], state: ModelState, logits: Tensor, raw: bool = False) -> Tensor:
    """Sample and judge by the conditional distribution."""
    return right(state, logits[:1], raw)


def never_raw(right: Callable[..., Tensor], state: ModelState, logits: Tensor, raw: bool = False) -> Tensor:
    """Judge by what is sampled from whatever `accept_on` says."""
    return right(state, logits)


def always_raw(right: Callable[..., Tensor], state: ModelState, logits: Tensor, raw: bool = False) -> Tensor:
    """Sample without temperature and filters."""
    return right(state, logits, True)


def verified_twice(right: Callable[..., Tensor], state: ModelState, cells: Sequence[int], *rest: Any) -> Tensor:
    """Spend a pass too many."""
    if len(cells) > 1:
        right(state, cells, *rest)
    return right(state, cells, *rest)


def not_refreshed(right: Callable[..., Tensor], state: ModelState, cells: Sequence[int], also: Any = ()) -> Tensor:
    """Forget KV-4."""
    return right(state, cells)


def off_by_one(right: Callable[..., Tensor], state: ModelState, cells: Sequence[int], *rest: Any) -> Tensor:
    """Take a window's logits from the rows one further on."""
    return right(state, cells, *rest).roll(1, dims=1)


def first_step_takes_a_pass(right: Callable[..., None], state: ModelState, schedule: Schedule, *rest: Any) -> None:
    """Forget SCHED-4."""
    right(state, schedule)


def right_to_left(right: Callable[..., None], state: ModelState, schedule: Schedule, *rest: Any) -> None:
    """Resample each row from its end."""
    for region in schedule.regions:
        for columns in region.left.values():
            columns.reverse()
    right(state, schedule, *rest)


def forgets_earlier_passes(right: Callable[..., Any], cache: KVCache, positions: Tensor) -> Any:
    """See nothing but what the pass itself feeds."""
    cache.written[:] = False
    return right(cache, positions)


def forgets_rows(right: Callable[..., Tensor], tokenizer: Any, tokens: Tensor, *rest: Any) -> Tensor:
    """Up-sample without the rows before the last one."""
    return right(tokenizer, torch.cat([torch.zeros_like(tokens[:-1]), tokens[-1:]]), *rest)


def first_rows(right: Callable[..., Tensor], tokenizer: Any, tokens: Tensor, *rest: Any) -> Tensor:
    """Take the low-resolution rows from the top."""
    return right(tokenizer, tokens, *rest).flip(0)


def no_neighbours(right: Callable[..., Tensor], codebook: Tensor, k: int) -> Tensor:
    """Pool over one neighbour fewer."""
    return right(codebook, k - 1)


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
    """Let what was drafted ahead enter the cache."""
    proposal = right(decoder, level, *rest)
    for low in decoder.states[level + 1 :]:
        low.pending.add(int((low.grid >= 0).nonzero().max()))
    return proposal


def half_rows_are_skipped(right: Callable[..., Proposal], decoder: Any, level: int, first: int, *rest: Any) -> Proposal:
    """Draft no row again of which half is decided."""
    proposal = right(decoder, level, first, *rest)
    wrong = -(-first // decoder.scale_ratio(level))
    return replace(
        proposal, draft_first_row=wrong, draft_tokens=proposal.draft_tokens[wrong - proposal.draft_first_row :]
    )


PLANTED = {
    "another token stands in": Planted(
        around(ModelState, "_fed_token", first_of_the_row), laws.nothing_seen_is_gone, ZIPPED
    ),
    "stand-ins stay": Planted(
        around(ModelState, "decide", decided_tokens_are_not_fed), laws.passes_feed_exactly, ZIPPED
    ),
    "a narrower window": Planted(
        around(decoding, "Schedule", lambda right, cells, window, by_island: right(cells, 1, by_island)),
        laws.passes_are_counted,
        ZIPPED,
    ),
    "a narrower window of the drafter": Planted(
        around(decoding, "Schedule", lambda right, cells, window, by_island: right(cells, 2, by_island)),
        cycle_laws.whole_rows_are_drafted,
        PARALLEL,
    ),
    "islands are forgotten": Planted(
        around(verifying, "Schedule", lambda right, cells, window, by_island: right(cells, window, False)),
        cycle_laws.cycles_in_order,
        ISLANDS,
    ),
    "islands are forgotten, by count": Planted(
        around(verifying, "Schedule", lambda right, cells, window, by_island: right(cells, window, False)),
        laws.passes_are_counted,
        ISLANDS,
    ),
    "opening tokens are not held": Planted(
        around(Openings, "sample", rows_open_at_once), laws.passes_feed_exactly, ADAPTIVE
    ),
    "opening tokens are drawn with the same noise": Planted(
        around(ModelState, "draw", same_attempt), laws.repredictions_follow, ADAPTIVE
    ),
    "opening tokens are accepted by other noise": Planted(
        around(executing, "acceptance_stream", lambda right, model: 2 * model), laws.repredictions_follow, ADAPTIVE
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
        around(decoding._Decoder, "_propose", drafted_ahead_is_decided), laws.passes_feed_exactly, WIDE_CASCADE
    ),
    "half rows are not drafted again": Planted(
        around(decoding._Decoder, "_propose", half_rows_are_skipped), cycle_laws.whole_rows_are_drafted, WIDE_CASCADE
    ),
    "one stream for all drafters": Planted(
        around(states, "sample_stream", lambda right, model: right(min(model, 1))),
        laws.samples_follow_from_logits,
        WIDE_CASCADE,
    ),
    "decided tokens are not fed": Planted(
        around(ModelState, "decide", decided_tokens_are_not_fed), laws.nothing_seen_is_gone, MIXED
    ),
    "decided tokens are not fed, by sets": Planted(
        around(ModelState, "decide", decided_tokens_are_not_fed), laws.passes_feed_exactly, MIXED
    ),
    "the last kept token is not fed": Planted(
        around(ModelState, "keep", last_kept_token_is_not_fed), laws.passes_feed_exactly, AHEAD
    ),
    "rescaled rows do not reach the drafter": Planted(
        around(ModelState, "decide", rescaled_rows_stay_out), laws.nothing_seen_is_gone, MIXED
    ),
    "no guidance": Planted(around(ModelState, "log_probs", without_guidance), laws.samples_follow_from_logits, MIXED),
    "no guidance in the verification": Planted(
        around(ModelState, "log_probs", without_guidance), cycle_laws.verification_judges, MIXED
    ),
    "accept_on is ignored": Planted(
        around(ModelState, "log_probs", never_raw), cycle_laws.verification_judges, FILTERED
    ),
    "filters are ignored": Planted(
        around(ModelState, "log_probs", always_raw), laws.samples_follow_from_logits, AUTOREGRESSIVE
    ),
    "one stream for both models": Planted(
        around(states, "sample_stream", lambda right, model: right(0)), laws.samples_follow_from_logits, MIXED
    ),
    "noise of another attempt": Planted(
        around(states, "gumbel_noise", lambda right, *arguments: right(*arguments[:-1], arguments[-1] + 1)),
        laws.samples_follow_from_logits,
        AUTOREGRESSIVE,
    ),
    "refresh is ignored": Planted(around(ModelState, "query", not_refreshed), laws.passes_feed_exactly, REFRESHED),
    "a second verification": Planted(around(ModelState, "query", verified_twice), laws.passes_are_counted, ACCEPTED),
    "logits of the wrong rows": Planted(around(ModelState, "query", off_by_one), cycle_laws.verification_judges, MIXED),
    "the first step takes a pass": Planted(
        around(verifying, "execute", first_step_takes_a_pass), laws.passes_are_counted, MIXED
    ),
    "the first step takes a pass, by source": Planted(
        around(verifying, "execute", first_step_takes_a_pass), cycle_laws.cycles_in_order, MIXED
    ),
    "backwards": Planted(around(verifying, "execute", right_to_left), cycle_laws.cycles_in_order, MIXED),
    "earlier passes are forgotten": Planted(
        around(KVCache, "attend", forgets_earlier_passes), laws.logits_follow_from_passes, MIXED
    ),
    "a larger radius": Planted(
        around(verifying, "expand", lambda right, mask, radius, *rows: right(mask, radius + 1, *rows)),
        cycle_laws.rejections_grow,
        AHEAD,
    ),
    "t0 is forgotten": Planted(
        around(verifying, "expand", lambda right, mask, *rest: right(mask, *rest) | right(mask.flip(1), *rest)),
        cycle_laws.rejections_grow,
        AHEAD,
    ),
    "fewer neighbours": Planted(around(decoding, "neighbours", no_neighbours), cycle_laws.verification_judges, MIXED),
    "tau itself is rejected": Planted(
        around(verifying, "accept", lambda right, pooled, tau: pooled > max(tau, float(pooled.min()))),
        cycle_laws.verification_judges,
        ACCEPTED,
    ),
    "up-sampling forgets rows": Planted(
        around(scaling, "up_sample", forgets_rows), cycle_laws.scaling_uses_known_rows, MIXED
    ),
    "the wrong rows come down": Planted(
        around(scaling, "down_sample", first_rows), cycle_laws.scaling_uses_known_rows, MIXED
    ),
    "a given draft is not taken": Planted(
        around(decoding._Decoder, "_sample_rows", lambda right, *arguments: right(*arguments[:-1], None)),
        cycle_laws.whole_rows_are_drafted,
        GIVEN,
    ),
    "a row too many is drafted": Planted(
        around(decoding._Decoder, "_sample_rows", lambda right, *some: right(*some[:-2], 3, some[-1])),
        cycle_laws.whole_rows_are_drafted,
        ACCEPTED._replace(settings=FILTERED.settings),
    ),
    "the condition is fed twice": Planted(
        around(ModelState, "__init__", lambda right, *arguments: (right(*arguments), right(*arguments))[0]),
        laws.prefill_comes_first,
        AUTOREGRESSIVE,
    ),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_planted_defects_are_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each law holds for a decode of the reference, and for none with the planted defect."""
    planted.law(planted.case, planted.case.run(record_logits=True))
    planted.defect(monkeypatch)
    decoded = planted.case.run(record_logits=True)
    with pytest.raises(AssertionError):
        planted.law(planted.case, decoded)

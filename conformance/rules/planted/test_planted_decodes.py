"""Each law about a whole decode fails where a defect is planted in the reference."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mulo_sd.conformance.rules import cycle_laws
from mulo_sd.conformance.rules import decode_laws as laws
from mulo_sd.conformance.rules.planting import Planted, around, is_found
from mulo_sd.conformance.strategies.decodes import (
    ACCEPTED,
    AHEAD,
    AUTOREGRESSIVE,
    FILTERED,
    GIVEN,
    ISLANDS,
    MIXED,
    REFRESHED,
    ZIPPED,
)
from mulo_sd.reference import acceptance
from mulo_sd.reference import decode as decoding
from mulo_sd.reference import models as scaling
from mulo_sd.reference import state as states
from mulo_sd.reference import verify as verifying
from mulo_sd.reference.cache import KVCache
from mulo_sd.reference.schedule import Schedule
from mulo_sd.reference.state import ModelState


def decided_tokens_are_not_fed(right: Callable[..., None], state: ModelState, *rest: Any) -> None:
    """Forget KV-3: a resampled token enters the cache only as somebody's predecessor."""
    right(state, *rest)
    state.pending.clear()


def what_is_unseen_is_fed(right: Callable[..., Tensor], state: ModelState, cells: Sequence[int], *rest: Any) -> Tensor:
    """Feed all that is pending with the next pass, seen or not."""
    last = max((*cells, *(cell + 1 for cell in state.pending)))
    return right(state, [*cells, last], *rest)[:, : len(cells)]


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


def forgets_earlier_passes(right: Callable[..., Any], cache: KVCache, positions: Tensor, *rest: Any) -> Any:
    """See nothing but what the pass itself feeds."""
    cache.written[:] = False
    return right(cache, positions, *rest)


def forgets_rows(right: Callable[..., Tensor], tokenizer: Any, tokens: Tensor, *rest: Any) -> Tensor:
    """Up-sample without the rows before the last one."""
    return right(tokenizer, torch.cat([torch.zeros_like(tokens[:-1]), tokens[-1:]]), *rest)


def first_rows(right: Callable[..., Tensor], tokenizer: Any, tokens: Tensor, *rest: Any) -> Tensor:
    """Take the low-resolution rows from the top."""
    return right(tokenizer, tokens, *rest).flip(0)


def no_neighbours(right: Callable[..., Tensor], codebook: Tensor, k: int) -> Tensor:
    """Pool over one neighbour fewer."""
    return right(codebook, k - 1)


PLANTED = {
    "decided tokens are not fed": Planted(
        around(ModelState, "decide", decided_tokens_are_not_fed), laws.nothing_seen_is_gone, MIXED
    ),
    "decided tokens are not fed, by sets": Planted(
        around(ModelState, "decide", decided_tokens_are_not_fed), laws.passes_feed_exactly, MIXED
    ),
    "stand-ins stay": Planted(
        around(ModelState, "decide", decided_tokens_are_not_fed), laws.passes_feed_exactly, ZIPPED
    ),
    "what no query sees yet is fed": Planted(
        around(ModelState, "query", what_is_unseen_is_fed), laws.passes_feed_exactly, ISLANDS
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
    "backwards": Planted(around(verifying, "execute", right_to_left), cycle_laws.cycles_in_order, ISLANDS),
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
        around(acceptance, "accept", lambda right, pooled, tau: pooled > max(tau, float(pooled.min()))),
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
    is_found(planted, monkeypatch)

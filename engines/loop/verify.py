"""Local verification: judge a proposal in one pass, resample around what is rejected (VERIFY-1 to SCHED-4)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Judgement
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.execute import Verified, execute
from mulo_sd.engines.loop.speculate import accept_certain
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.parts import Order
from mulo_sd.engines.rules.acceptance import accept_drafts
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.grid import expand
from mulo_sd.engines.rules.radius import adaptive_radii
from mulo_sd.engines.rules.schedule import schedule_of
from mulo_sd.engines.rules.trace import Proposal, Verdict

# What becomes of a draft token: it stays, it is rejected, or it is resampled beside one that is.
KEPT, REJECTED, BESIDE = 1, 2, 3
# (model, its cells, n of them) -> Bool[n], which draft tokens are accepted, whatever the verification found. Measuring
# the time of a declared acceptance rate asks for it; a decode that is to mean something leaves it out.
Accepted = Callable[[int, range], NDArray[np.bool_]]


def judge(state: ModelState, answer: Answer, draft_tokens: Tokens, neighbours: Tokens, raw: bool = False) -> Judgement:
    """Judge draft tokens by p, or without temperature and filters (POOL-1, LOCAL-3, DIST-2)."""
    return answer.judge(state.distribution.raw() if raw else state.distribution, draft_tokens, neighbours)


def verify_locally(
    state: ModelState,
    proposal: Proposal,
    codes: Codes,
    order: Order,
    also_feed: range,
    progress: Callable[[int], None],
    accepted: Accepted | None = None,
) -> Verdict:
    """Verify a proposal, keep what is accepted and far from rejections, resample the rest.

    Args:
        state: The model that verifies; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        codes: The codebook.
        order: Of resampling.
        also_feed: Cells to feed again (KV-4).
        progress: Told how many cells each step decided.
        accepted: Replaces ACCEPT-1.
    """
    settings, width = state.settings, state.width
    first_row, last_row = proposal.first_row, proposal.last_row
    cells = range(first_row * width, last_row * width)
    answer = state.query(cells, also_feed)
    verify_pass = len(state.trace.passes) - 1
    draft = proposal.up_sampled.ravel()
    judgement = judge(state, answer, draft, codes.neighbours)
    pooled, entropies = judgement.pooled_probs, judgement.entropies
    if settings.accept_on == "raw":
        pooled = judge(state, answer, draft, codes.neighbours, raw=True).pooled_probs
    if accepted is not None:
        kept = accepted(state.number, cells)
    elif state.number == 0 and settings.decoding.acceptance != "pooled":
        kept = accept_certain(state, cells, answer, draft, codes)
    else:
        kept = accept_drafts(pooled, entropies, settings)
    kept = kept.reshape(-1, width)
    rejected = np.zeros((state.height, width), dtype=np.bool_)
    rejected[first_row:last_row] = ~kept
    radii = np.zeros((state.height, width), dtype=np.int64)
    radii[first_row:last_row] = adaptive_radii(entropies.reshape(-1, width), settings.radius, settings.radius_nats)
    resampled = expand(rejected, radii, first_row, last_row)
    in_window = resampled[first_row:last_row]
    state.verdicts[cells.start : cells.stop] = np.where(kept, np.where(in_window, BESIDE, KEPT), REJECTED).ravel()
    state.watch(state)
    state.keep((np.flatnonzero(~in_window) + cells.start).tolist())
    progress(int((~in_window).sum()))
    anchor = Anchor(settings.anchor, codes.vectors, draft, cells.start) if settings.anchor else None
    verified = Verified(answer, verify_pass, anchor)
    execute(state, schedule_of(resampled, order, settings, state.auto_width), verified, progress=progress)
    return Verdict(verify_pass, pooled.reshape(-1, width), kept, radii[first_row:last_row], in_window)

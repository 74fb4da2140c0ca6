"""Exact verification: the output's distribution is the target's (MODE-EXACT); twin of `reference.exact`."""

from collections.abc import Callable

import numpy as np

from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.loop.verify import Accepted, judge
from mulo_sd.engines.rules.noise import acceptance_stream, uniform_noise
from mulo_sd.engines.rules.trace import Proposal, Verdict


def verify_exactly(
    state: ModelState,
    proposal: Proposal,
    neighbours: Tokens,
    progress: Callable[[int], None],
    replayed: Accepted | None = None,
) -> Verdict:
    """Decide the proposal's window in raster order so that each token has the target's own distribution.

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        neighbours: Int[V, k], of which each code itself is the first.
        progress: Told how many cells each pass decided.
        replayed: Replaces the draws, for measurements.
    """
    settings, width = state.settings, state.width
    cells = range(proposal.first_row * width, proposal.last_row * width)
    draft = proposal.up_sampled.ravel()
    own = np.ascontiguousarray(neighbours[:, :1])
    probs, kept = np.zeros(len(cells), dtype=np.float32), np.zeros(len(cells), dtype=np.bool_)
    verify_pass = len(state.trace.passes)
    cell = cells.start
    while cell < cells.stop:
        scored = range(cell, min(cell + (settings.exact_window or len(cells)), cells.stop))
        offsets = slice(cell - cells.start, scored.stop - cells.start)
        answer = state.query(scored)
        draft_probs = judge(state, answer, draft[offsets], own).pooled_probs
        draws = uniform_noise(state.seed, acceptance_stream(state.number), np.array(scored))[:, 0]
        accepted = draws < draft_probs if replayed is None else replayed(state.number, scored)
        count = len(scored) if accepted.all() else int(accepted.argmin())
        # Only what is decided now is noted: later cells are scored again.
        decided = slice(offsets.start, offsets.start + count)
        probs[decided], kept[decided] = draft_probs[:count], True
        state.keep(range(cell, cell + count))
        cell += count
        if cell < scored.stop:
            offset = cell - cells.start
            probs[offset] = draft_probs[count]
            kept[offset] = not _replace(state, cell, answer.only([cell]), int(draft[offset]))
            count, cell = count + 1, cell + 1
        progress(count)
    kept_rows = kept.reshape(-1, width)
    radii = np.zeros(kept_rows.shape, dtype=np.int64)
    return Verdict(verify_pass, probs.reshape(-1, width), kept_rows, radii, ~kept_rows)


def _replace(state: ModelState, cell: int, answer: Answer, token: int) -> bool:
    """Draw another token than the rejected one; return False where there is none, and the draft token stays."""
    noise = state.noise.rows([cell])
    noise[:, token] = -np.inf  # p without the token, renormalised, by Gumbel-max
    tokens, log_probs = answer.draw(state.distribution, noise)
    if np.isneginf(np.delete(log_probs[0], token)).all():
        state.keep([cell])
        return False
    origin, row = state.origin(cell)
    origin.residuals.append((row, cell, int(tokens[0])))
    state.decide([cell], tokens)
    return True

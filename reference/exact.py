"""Exact verification: the output's distribution is the target's, whatever the draft (MODE-EXACT)."""

import torch
from torch import Tensor

from mulo_sd.reference.noise import acceptance_stream, uniform_noise
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Proposal, Verdict


def verify_exactly(state: ModelState, proposal: Proposal) -> Verdict:
    """Decide the proposal's window in raster order so that each token has the target's own distribution.

    Draft token d at u is accepted with probability p_u(d). The first that is not is drawn from p_u without d,
    renormalised, and what follows is verified again with it. Given the draft, the token at u is then d with
    probability p_u(d), and v with (1 - p_u(d)) * p_u(v) / (1 - p_u(d)) = p_u(v): the target's law.

    Costs one pass for each rejection and for each `exact_window` cells accepted in a row.

    Args:
        state: The target; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
    """
    settings, width = state.settings, state.width
    cells = range(proposal.first_row * width, proposal.last_row * width)
    draft = proposal.up_sampled.flatten()
    probs, kept = torch.zeros(len(cells), dtype=torch.float64), torch.zeros(len(cells), dtype=torch.bool)
    verify_pass = len(state.trace.passes)
    cell = cells.start
    while cell < cells.stop:
        scored = range(cell, min(cell + (settings.exact_window or len(cells)), cells.stop))
        log_probs = state.log_probs(state.query(scored))
        draws = uniform_noise(state.seed, acceptance_stream(state.number), scored)[:, 0]
        for index, cell in enumerate(scored):
            offset = cell - cells.start
            token = int(draft[offset])
            residual = without_token(log_probs[index], token)
            probs[offset] = log_probs[index, token].exp()
            # A token without alternative is kept whatever rounding makes of its probability.
            kept[offset] = bool(draws[index] < probs[offset]) or bool(residual.isneginf().all())
            if not kept[offset]:
                _replace(state, cell, residual)
                break
            state.keep([cell])
        cell += 1
    kept = kept.reshape(-1, width)
    radii = torch.zeros(kept.shape, dtype=torch.long)
    return Verdict(verify_pass, probs.reshape(-1, width), kept, radii, ~kept)


def without_token(log_probs: Tensor, token: int) -> Tensor:
    """Return log p, Float[V], with one token's probability taken away; not renormalised, which sampling ignores."""
    return log_probs.index_fill(0, torch.tensor([token]), -torch.inf)


def _replace(state: ModelState, cell: int, residual: Tensor) -> None:
    tokens = state.draw([cell], residual[None])
    origin, row = state.origin(cell)
    origin.residuals.append((row, cell, int(tokens)))
    state.decide([cell], tokens)

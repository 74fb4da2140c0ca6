"""Local verification: judge a proposal in one pass, resample around what is rejected (VERIFY-1 to SCHED-4, SWEEP-1)."""

import torch

from mulo_sd.reference.acceptance import accept_drafts
from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.codebook import Codes, pooled_probs
from mulo_sd.reference.execute import Verified, execute
from mulo_sd.reference.grid import expand
from mulo_sd.reference.parts import Order
from mulo_sd.reference.radius import adaptive_radii, entropy
from mulo_sd.reference.schedule import schedule_of
from mulo_sd.reference.speculate import accept_certain
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Proposal, Verdict


def verify_locally(state: ModelState, proposal: Proposal, codes: Codes, order: Order, also_feed: range) -> Verdict:
    """Verify a proposal, keep what is accepted and far from rejections, resample the rest.

    Costs one pass and one for each step of resampling but the first.

    Args:
        state: The model that verifies; the proposal stands in its grid. Mutated.
        proposal: Of whole rows.
        codes: The codebook.
        order: Of resampling.
        also_feed: Cells to feed again (KV-4).
    """
    settings, width = state.settings, state.width
    first_row, last_row = proposal.first_row, proposal.last_row
    cells = range(first_row * width, last_row * width)
    logits = state.query(cells, also_feed)
    verify_pass = len(state.trace.passes) - 1
    log_probs = state.log_probs(logits)
    judged = log_probs if settings.accept_on == "processed" else state.log_probs(logits, raw=True)
    pooled = pooled_probs(judged.exp(), proposal.up_sampled.flatten(), codes.neighbours)
    entropies = entropy(log_probs)
    if state.number == 0 and settings.decoding.acceptance != "pooled":
        kept = accept_certain(state, cells, log_probs, proposal.up_sampled.flatten(), codes).reshape(-1, width)
    else:
        kept = accept_drafts(pooled, entropies, settings).reshape(-1, width)
    rejected = torch.zeros(state.height, width, dtype=torch.bool)
    rejected[first_row:last_row] = ~kept
    radii = torch.zeros(state.height, width, dtype=torch.long)
    radii[first_row:last_row] = adaptive_radii(entropies.reshape(-1, width), settings.radius, settings.radius_nats)
    resampled = expand(rejected, radii, first_row, last_row)
    state.keep([cell for cell in cells if not resampled.view(-1)[cell]])
    anchor = None
    if settings.anchor:
        anchor = Anchor(settings.anchor, codes.vectors, proposal.up_sampled.flatten(), cells.start)
    verified = Verified(log_probs, cells.start, verify_pass, anchor)
    execute(state, schedule_of(resampled, order, settings), verified)
    return Verdict(
        verify_pass, pooled.reshape(-1, width), kept, radii[first_row:last_row], resampled[first_row:last_row]
    )

"""Drafts from a head on the target's hidden states: a chain of `draft_length` tokens (METHOD-6).

EAGLE (Li et al., arXiv 2401.15077), as read in the code of LANTERN, which trained heads for LlamaGen. Lossless under
`accept_by` lossless. It trains one transformer layer; the target stays as it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mulo_sd.reference.corrections import Window
from mulo_sd.reference.drafts.head_state import HeadState
from mulo_sd.reference.drafts.source import DrawnFrom
from mulo_sd.reference.head import Head
from mulo_sd.reference.noise import HEAD, gumbel_noise, sample_stream
from mulo_sd.reference.sampling import sample
from mulo_sd.reference.state import ModelState


class HeadDraft:
    """Drafts the next cells one by one, each from what the head made of the one before.

    Args:
        state: Of the target; it keeps hidden states.
        head: Of the target.
    """

    def __init__(self, state: ModelState, head: Head) -> None:
        self.state, self.head = state, HeadState(state, head)
        self.drafted: dict[int, int] = {}

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Draft the window's first cells; none where no token is decided yet, from which the head could go on."""
        drawn_from: dict[int, Tensor | None] = {}
        cells = windows[0].cells[: self.state.settings.draft_length]
        if cells[0] == 0:
            return drawn_from
        logits, hidden = self.head.catch_up(cells[0])
        tokens: list[Tensor] = []
        for cell in cells:
            if tokens:
                logits, hidden = self.head.feed([cell - 1], tokens[-1], hidden)
            log_q = self.state.log_probs(logits)
            attempt = self.drafted.get(cell, 0)
            self.drafted[cell] = attempt + 1
            noise = gumbel_noise(self.state.seed, sample_stream(HEAD), [cell], log_q.shape[1], attempt)
            tokens.append(sample(log_q, noise))
            drawn_from[cell] = log_q[0]
        self.state.propose(cells, torch.cat(tokens))
        return drawn_from

    def carry(self, carried: DrawnFrom) -> None:
        """Keep nothing: each pass drafts anew."""

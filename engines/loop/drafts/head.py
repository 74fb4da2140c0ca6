"""Drafts from a head on the target's hidden states: a chain (METHOD-6).

EAGLE (Li et al., arXiv 2401.15077), as read in the code of LANTERN, which trained heads for LlamaGen. Lossless under
`accept_by` lossless. It trains one transformer layer; the target stays as it is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.loop.drafts.head_state import HeadState
from mulo_sd.engines.loop.drafts.source import DrawnFrom
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.rules.corrections import Window
from mulo_sd.engines.rules.noise import HEAD, gumbel_noise, sample_stream


class HeadDraft:
    """Drafts the next cells one by one, each from what the head made of the one before.

    Args:
        state: Of the target; it keeps hidden states.
        entry: The head, from the bundle's manifest.
    """

    def __init__(self, state: ModelState, entry: PassesEntry) -> None:
        self.state, self.head = state, HeadState(state, entry)
        self.drafted: dict[int, int] = {}

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Draft the window's first cells; none where no token is decided yet, from which the head could go on."""
        drawn_from: dict[int, NDArray[np.float32] | None] = {}
        cells, state = windows[0].cells[: self.state.settings.draft_length], self.state
        if cells[0] == 0:
            return drawn_from
        drafted = self.head.catch_up(cells[0])
        tokens: list[NDArray[np.int64]] = []
        for cell in cells:
            if tokens:
                drafted = self.head.feed([cell - 1], tokens[-1], drafted.hidden)
            attempt = self.drafted.get(cell, 0)
            self.drafted[cell] = attempt + 1
            noise = gumbel_noise(state.seed, sample_stream(HEAD), np.array([cell]), state.entry.vocabulary, attempt)
            drawn, log_q = drafted.answer.draw(state.distribution, noise)
            tokens.append(drawn)
            drawn_from[cell] = log_q[0]
        state.draft(cells, np.concatenate(tokens))
        return drawn_from

    def carry(self, carried: DrawnFrom) -> None:
        """Keep nothing: each pass drafts anew."""

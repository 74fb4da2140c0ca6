"""A drafting head in the middle of a decode: its cache, and how far it has read what the target decided."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mulo_sd.reference.cache import KVCache
from mulo_sd.reference.head import PREFIX_TOKEN, Head
from mulo_sd.reference.noise import HEAD
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Pass


class HeadState:
    """Feeds the head pairs of a token and the hidden state of the one before.

    Args:
        state: Of the target; it keeps hidden states.
        head: Of the target.
    """

    def __init__(self, state: ModelState, head: Head) -> None:
        self.state, self.head = state, head
        self.prefix_length = head.config.prefix_length
        self.cache = KVCache(head.config, len(state.first_logits), head.output.weight.dtype)
        # Of the prefix, positions whose predecessor the target was fed.
        places = state.condition.places()
        self.unread = [place + 1 for place in places.tolist() if place + 1 < self.prefix_length]
        self.read_to = 0

    def catch_up(self, cell: int) -> tuple[Tensor, Tensor]:
        """Feed all that is decided before a cell; return its logits, Float[B, 1, V], and the hidden state before it.

        Args:
            cell: The first that is not decided; not 0.
        """
        decided = range(self.read_to, cell)
        positions = torch.tensor(self.unread + [self.prefix_length + place for place in decided])
        tokens = torch.tensor([PREFIX_TOKEN] * len(self.unread) + self.state.grid[decided.start : cell].tolist())
        self.unread, self.read_to = [], cell
        logits, hidden = self._run(positions, tokens, self.state.hidden[:, positions - 1])
        return logits[:, -1:], hidden[:, -1:]

    def feed(self, cells: Sequence[int], tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Feed draft tokens, Int[n], with features of the head's own, Float[B, n, dim]; return both again."""
        return self._run(torch.tensor(cells) + self.prefix_length, tokens, features)

    def feed_nodes(self, cell: int, tokens: Tensor, features: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
        """Feed draft tokens of one cell, Int[n], each behind a parent of the tree that was fed so far, Int[n]."""
        return self._run(torch.full_like(tokens, cell + self.prefix_length), tokens, features, parents)

    def _run(
        self, positions: Tensor, tokens: Tensor, features: Tensor, parents: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = len(features)
        spread = tokens[None].expand(batch, -1), positions[None].expand(batch, -1)
        logits, hidden = self.head(spread[0], features, spread[1], self.cache.attend(positions, parents=parents))
        kept = logits.clone() if self.state.record_logits else None
        self.state.trace.passes.append(Pass(HEAD, positions, tokens, kept))
        return logits, hidden

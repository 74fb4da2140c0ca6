"""A drafting head in the middle of a decode; the engines' twin of `reference.drafts.head_state`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mulo_sd.engines.backends.base import Floats, Scores
from mulo_sd.engines.backends.finite import check_logits
from mulo_sd.engines.backends.host_scores import HostLogits
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.passes.cached import NO_TOKENS
from mulo_sd.engines.passes.head import HeadSession
from mulo_sd.engines.rules.noise import HEAD
from mulo_sd.engines.rules.trace import Pass

# Stands for every token of the prefix, of which the head sees hidden states alone.
PREFIX_TOKEN = 0


class Drafted(NamedTuple):
    """What a pass of the head says of n tokens.

    Attributes:
        answer: The scores of the token that follows each.
        hidden: Float32[B, n, dim], the hidden states that it predicts.
    """

    answer: Answer
    hidden: Floats


class HeadState:
    """Feeds the head pairs of a token and the hidden state of the one before.

    Args:
        state: Of the target; it keeps hidden states.
        entry: The head, from the bundle's manifest.
    """

    def __init__(self, state: ModelState, entry: PassesEntry) -> None:
        self.state, self.prefix_length = state, entry.prefix_length
        self.session = HeadSession(state.backend, entry, len(state.hidden))
        # Of the prefix, positions whose predecessor the target was fed.
        following = state.condition.places() + 1
        self.unread = following[following < self.prefix_length]
        self.read_to = 0

    def catch_up(self, cell: int) -> Drafted:
        """Feed all that is decided before a cell; return what follows the last of it, n = 1.

        Args:
            cell: The first that is not decided; not 0.
        """
        decided = np.arange(self.read_to, cell)
        positions = np.concatenate([self.unread, decided + self.prefix_length])
        tokens = np.concatenate([np.full_like(self.unread, PREFIX_TOKEN), self.state.grid[decided]])
        self.unread, self.read_to = NO_TOKENS, cell
        scores = self._run(positions, tokens, self.state.hidden[:, positions - 1])
        last = np.array([len(positions) - 1])
        return self._drafted(scores, last)

    def feed(self, cells: Sequence[int], tokens: Tokens, features: Floats) -> Drafted:
        """Feed draft tokens, Int[n], with features of the head's own, Float32[B, n, dim]."""
        positions = np.array(cells) + self.prefix_length
        return self._drafted(self._run(positions, tokens, features), np.arange(len(tokens)))

    def feed_nodes(self, cell: int, tokens: Tokens, features: Floats, parents: Tokens) -> Drafted:
        """Feed draft tokens of one cell, Int[n], each behind a parent of the tree that was fed so far, Int[n]."""
        positions = np.full_like(tokens, cell + self.prefix_length)
        return self._drafted(self._run(positions, tokens, features, parents), np.arange(len(tokens)))

    def _run(self, positions: Tokens, tokens: Tokens, features: Floats, parents: Tokens = NO_TOKENS) -> Scores:
        scores = self.session.feed(positions, tokens, features, parents)
        if isinstance(scores, HostLogits):
            check_logits(scores.all, self._where())
        logits = scores.logits() if self.state.record_logits else None
        self.state.trace.passes.append(Pass(HEAD, positions, tokens, logits))
        return scores

    def _where(self) -> str:
        return f"graph {self.session.entry.graph}, pass {len(self.state.trace.passes)}"

    def _drafted(self, scores: Scores, rows: Tokens) -> Drafted:
        answer = Answer(rows + 1, rows, scores, scores, self._where())
        return Drafted(answer, self.session.hidden_of(scores)[:, rows])

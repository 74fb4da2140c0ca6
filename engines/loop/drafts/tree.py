"""Drafts from a head as a tree: EAGLE-2's, grown where the head is sure, and a fixed one (METHOD-6).

EAGLE-2 (Li et al., arXiv 2406.16858) and LANTERN++ (arXiv 2502.06352), as read in LANTERN's code. The grown tree takes
the likeliest tokens, and its drafts are certain; the fixed one draws siblings without replacement. Both are lossless
under `accept_by` lossless.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Floats
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.loop.drafts.head_state import Drafted, HeadState
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.rules.noise import HEAD, gumbel_noise, sample_stream
from mulo_sd.engines.rules.trees import DraftTree, Path, static_paths


class TreeSource(Protocol):
    """Drafts trees."""

    def grow(self, cell: int, room: int) -> DraftTree:
        """Return a tree that drafts a cell, the first that is not decided, and those after it, `room` cells at most."""


def _log_q(state: ModelState, drafted: Drafted) -> Floats:
    """Return log q of what follows each of n tokens of the head, Float32[n, V]; their samples are not used."""
    noise = np.zeros((len(drafted.answer.rows), state.entry.vocabulary), dtype=np.float32)
    return drafted.answer.draw(state.distribution, noise).log_probs


class GrownTree:
    """EAGLE-2's: at each depth the `tree_top` branches that are likeliest in all grow on, each by as many tokens.

    Args:
        state: Of the target; it keeps hidden states.
        entry: The head, from the bundle's manifest.
    """

    def __init__(self, state: ModelState, entry: PassesEntry) -> None:
        self.state, self.head = state, HeadState(state, entry)

    def grow(self, cell: int, room: int) -> DraftTree:
        """Draft; nothing where no token is decided yet, from which the head could go on."""
        settings = self.state.settings
        if cell == 0:
            return DraftTree.none()
        drafted, top = self.head.catch_up(cell), settings.tree_top
        log_q, nothing = _log_q(self.state, drafted), np.zeros(1, dtype=np.float32)
        tokens, scores, parents = _best(log_q, nothing, np.array([-1]), top)
        depths = np.zeros_like(tokens)
        # The candidates that grow on, their parents in the head's own tree, and the features before them.
        growing, fed = np.arange(len(tokens)), np.full_like(tokens, -1)
        before, fed_count = np.repeat(drafted.hidden, len(tokens), axis=1), 0
        for depth in range(1, min(settings.tree_depth, room)):
            drafted = self.head.feed_nodes(cell + depth - 1, tokens[growing], before, fed)
            log_q, first = _log_q(self.state, drafted), len(tokens)
            more, their_scores, rows = _best(log_q, scores[growing], np.arange(len(growing)), top)
            tokens, scores = np.concatenate([tokens, more]), np.concatenate([scores, their_scores])
            parents = np.concatenate([parents, growing[rows]])
            depths = np.concatenate([depths, np.full_like(more, depth)])
            chosen = np.argsort(-their_scores, kind="stable")[:top]
            fed, fed_count = fed_count + rows[chosen], fed_count + len(growing)
            growing, before = first + chosen, drafted.hidden[:, rows[chosen]]
        kept = np.sort(np.argsort(-scores, kind="stable")[: settings.tree_nodes])
        number = np.full(len(tokens) + 1, -1)
        number[kept] = np.arange(len(kept))
        return DraftTree(tokens[kept], number[parents[kept]], depths[kept])


def _best(log_q: Floats, scores: Floats, parents: Tokens, top: int) -> tuple[Tokens, Floats, Tokens]:
    """Return the likeliest tokens after each of n branches: tokens, log-probabilities in all, and parents, Int[m]."""
    order = np.argsort(-log_q, axis=1, kind="stable")[:, :top]
    sums = scores[:, None] + np.take_along_axis(log_q, order, axis=1)
    drawn = sums > -np.inf
    return order[drawn], sums[drawn], np.broadcast_to(parents[:, None], order.shape)[drawn]


class StaticTree:
    """A tree of one shape, whose siblings are drawn without replacement.

    Args:
        state: Of the target; it keeps hidden states.
        entry: The head, from the bundle's manifest.
    """

    def __init__(self, state: ModelState, entry: PassesEntry) -> None:
        self.state, self.head = state, HeadState(state, entry)
        self.drafted: dict[int, int] = {}

    def grow(self, cell: int, room: int) -> DraftTree:
        """Draft; nothing where no token is decided yet, from which the head could go on."""
        if cell == 0:
            return DraftTree.none()
        paths = [path for path in static_paths() if len(path) <= room]
        drafted = self.head.catch_up(cell)
        log_q: dict[Path, Floats] = {(): _log_q(self.state, drafted)[0]}
        features: dict[Path, Floats] = {(): drafted.hidden[:, 0]}
        fed: dict[Path, int] = {(): -1}
        tokens: dict[Path, int] = {}
        for length in range(1, max(map(len, paths)) + 1):
            level, place = [path for path in paths if len(path) == length and path[:-1] in log_q], cell + length - 1
            order = {parent: self._drawn(place, log_q[parent]) for parent in {path[:-1] for path in level}}
            self.drafted[place] = self.drafted.get(place, 0) + 1
            tokens |= {path: order[path[:-1]][path[-1]] for path in level if path[-1] < len(order[path[:-1]])}
            growing = [path for path in level if path in tokens and (*path, 0) in paths]
            if not growing:
                break
            drafted = self.head.feed_nodes(
                place,
                np.array([tokens[path] for path in growing]),
                np.stack([features[path[:-1]] for path in growing], axis=1),
                np.array([fed[path[:-1]] for path in growing]),
            )
            rows = _log_q(self.state, drafted)
            for row, path in enumerate(growing):
                log_q[path], features[path], fed[path] = rows[row], drafted.hidden[:, row], len(fed) - 1
        number = {path: index for index, path in enumerate(tokens)}
        return DraftTree(
            np.array(list(tokens.values())),
            np.array([number.get(path[:-1], -1) for path in tokens]),
            np.array([len(path) - 1 for path in tokens]),
            np.stack([log_q[path[:-1]] for path in tokens]),
        )

    def _drawn(self, cell: int, log_q: NDArray[np.float32]) -> list[int]:
        """Return tokens in the order in which they are drawn from log q, Float32[V], without replacement."""
        attempt, stream = self.drafted.get(cell, 0), sample_stream(HEAD)
        noise = gumbel_noise(self.state.seed, stream, np.array([cell]), len(log_q), attempt)[0]
        order: list[int] = np.argsort(-(log_q + noise), kind="stable").tolist()
        return order[: int((log_q > -np.inf).sum())]

"""Drafts from a head as a tree: EAGLE-2's, grown where the head is sure, and a fixed one (METHOD-6).

EAGLE-2 (Li et al., arXiv 2406.16858) and LANTERN++ (arXiv 2502.06352), as read in LANTERN's code. The grown tree takes
the likeliest tokens, and its drafts are certain; the fixed one draws siblings without replacement. Both are lossless
under `accept_by` lossless.
"""

from typing import Protocol

import torch
from torch import Tensor

from mulo_sd.reference.drafts.head_state import HeadState
from mulo_sd.reference.head import Head
from mulo_sd.reference.noise import HEAD, gumbel_noise, sample_stream
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trees import DraftTree, Path, static_paths


class TreeSource(Protocol):
    """Drafts trees."""

    def grow(self, cell: int, room: int) -> DraftTree:
        """Return a tree that drafts a cell, the first that is not decided, and those after it, `room` cells at most."""


class GrownTree:
    """EAGLE-2's: at each depth the `tree_top` branches that are likeliest in all grow on, each by as many tokens.

    Args:
        state: Of the target; it keeps hidden states.
        head: Of the target.
    """

    def __init__(self, state: ModelState, head: Head) -> None:
        self.state, self.head = state, HeadState(state, head)

    def grow(self, cell: int, room: int) -> DraftTree:
        """Draft; nothing where no token is decided yet, from which the head could go on."""
        settings = self.state.settings
        if cell == 0:
            return DraftTree.none()
        logits, hidden = self.head.catch_up(cell)
        tokens, scores, parents = _best(
            self.state.log_probs(logits), torch.zeros(1), torch.tensor([-1]), settings.tree_top
        )
        depths = torch.zeros_like(tokens)
        # The candidates that grow on, their numbers in the head's own tree, and the features before them.
        growing, fed, before = (
            torch.arange(len(tokens)),
            torch.full_like(tokens, -1),
            hidden.expand(-1, len(tokens), -1),
        )
        fed_count = 0
        for depth in range(1, min(settings.tree_depth, room)):
            logits, hidden = self.head.feed_nodes(cell + depth - 1, tokens[growing], before, fed)
            more, their_scores, rows = _best(
                self.state.log_probs(logits), scores[growing], torch.arange(len(growing)), settings.tree_top
            )
            first = len(tokens)
            tokens, scores = torch.cat([tokens, more]), torch.cat([scores, their_scores])
            parents, depths = torch.cat([parents, growing[rows]]), torch.cat([depths, torch.full_like(more, depth)])
            chosen = their_scores.argsort(descending=True, stable=True)[: settings.tree_top]
            growing, fed, before = first + chosen, fed_count + rows[chosen], hidden[:, rows[chosen]]
            fed_count += len(logits[0])
        kept = scores.argsort(descending=True, stable=True)[: settings.tree_nodes].sort().values
        number = torch.full((len(tokens) + 1,), -1)
        number[kept] = torch.arange(len(kept))
        return DraftTree(tokens[kept], number[parents[kept]], depths[kept])


def _best(log_q: Tensor, scores: Tensor, parents: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the likeliest tokens after each of n branches: tokens, log-probabilities in all, and parents, Int[m]."""
    order = log_q.argsort(dim=1, descending=True, stable=True)[:, :top]
    sums = scores[:, None] + log_q.gather(1, order)
    drawn = sums > -torch.inf
    return order[drawn], sums[drawn], parents[:, None].expand_as(order)[drawn]


class StaticTree:
    """A tree of one shape, whose siblings are drawn without replacement.

    Args:
        state: Of the target; it keeps hidden states.
        head: Of the target.
    """

    def __init__(self, state: ModelState, head: Head) -> None:
        self.state, self.head = state, HeadState(state, head)
        self.drafted: dict[int, int] = {}

    def grow(self, cell: int, room: int) -> DraftTree:
        """Draft; nothing where no token is decided yet, from which the head could go on."""
        if cell == 0:
            return DraftTree.none()
        paths = [path for path in static_paths() if len(path) <= room]
        logits, hidden = self.head.catch_up(cell)
        log_q: dict[Path, Tensor] = {(): self.state.log_probs(logits)[0]}
        features: dict[Path, Tensor] = {(): hidden[:, 0]}
        fed: dict[Path, int] = {(): -1}
        tokens: dict[Path, int] = {}
        for length in range(1, max(map(len, paths)) + 1):
            level = [path for path in paths if len(path) == length and path[:-1] in log_q]
            order = {parent: self._drawn(cell + length - 1, log_q[parent]) for parent in {path[:-1] for path in level}}
            self.drafted[cell + length - 1] = self.drafted.get(cell + length - 1, 0) + 1
            tokens |= {path: order[path[:-1]][path[-1]] for path in level if path[-1] < len(order[path[:-1]])}
            growing = [path for path in level if path in tokens and (*path, 0) in paths]
            if not growing:
                break
            logits, hidden = self.head.feed_nodes(
                cell + length - 1,
                torch.tensor([tokens[path] for path in growing]),
                torch.stack([features[path[:-1]] for path in growing], dim=1),
                torch.tensor([fed[path[:-1]] for path in growing]),
            )
            rows = self.state.log_probs(logits)
            for row, path in enumerate(growing):
                log_q[path], features[path], fed[path] = rows[row], hidden[:, row], len(fed) - 1
        number = {path: index for index, path in enumerate(tokens)}
        return DraftTree(
            torch.tensor(list(tokens.values())),
            torch.tensor([number.get(path[:-1], -1) for path in tokens]),
            torch.tensor([len(path) - 1 for path in tokens]),
            torch.stack([log_q[path[:-1]] for path in tokens]),
        )

    def _drawn(self, cell: int, log_q: Tensor) -> list[int]:
        """Return tokens in the order in which they are drawn from log q, Float[V], without replacement."""
        attempt = self.drafted.get(cell, 0)
        noise = gumbel_noise(self.state.seed, sample_stream(HEAD), [cell], len(log_q), attempt)[0]
        order: list[int] = (log_q + noise).argsort(descending=True, stable=True).tolist()
        return order[: int((log_q > -torch.inf).sum())]

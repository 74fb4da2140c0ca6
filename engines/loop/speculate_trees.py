"""The executor of methods that draft trees (METHOD-6); the engines' twin of `reference.speculate_trees`."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Floats
from mulo_sd.engines.loop.drafts.tree import TreeSource
from mulo_sd.engines.loop.speculate import noise_of
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.rules.acceptances import ACCEPTANCES
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.noise import acceptance_stream, uniform_noise
from mulo_sd.engines.rules.trace import TreeSpeculation
from mulo_sd.engines.rules.trees import DraftTree

Probs = NDArray[np.float64]


class TreeWalk:
    """Walks from the root of a tree to the first cell none of whose drafts stays.

    Args:
        state: The target.
        tree: Its drafts.
        cells: Grid positions: the one that the tree's first nodes draft, and those after it.
        log_probs: Float32[1 + n, V], log p of the first cell, and of the cell after each node.
        codes: The codebook.
    """

    def __init__(
        self, state: ModelState, tree: DraftTree, cells: Sequence[int], log_probs: Floats, codes: Codes
    ) -> None:
        self.state, self.tree, self.cells, self.log_probs, self.codes = state, tree, cells, log_probs, codes
        self.rule = ACCEPTANCES[state.settings.decoding.acceptance or ""]
        self.judged: list[tuple[int, float, bool]] = []
        self.branch: list[int] = []
        self.tokens: list[int] = []

    def walk(self) -> None:
        """Decide cells from the left, up to one that no draft stays for: that one is drawn from what is left of p."""
        node = -1
        for depth, cell in enumerate(self.cells):
            children = self.tree.children(node)
            left, node = self._judge(depth, cell, node, children)
            if node < 0:
                noise = noise_of(self.state, [cell], np.array([1 if children else 0]))[0]
                with np.errstate(divide="ignore"):  # log 0 is -inf: never drawn
                    self.tokens.append(int((np.log(left).astype(np.float32) + noise).argmax()))
                return
            self.branch.append(node)
            self.tokens.append(int(self.tree.tokens[node]))

    def _judge(self, depth: int, cell: int, node: int, children: list[int]) -> tuple[Probs, int]:
        """Judge the drafts of a cell one after the other; return what is left of p, Float64[V], and which stays."""
        probs: Probs = np.exp(self.log_probs[node + 1].astype(np.float64))
        if not children:
            return probs, -1
        stream, place = acceptance_stream(self.state.number), np.array([depth])
        uniform = uniform_noise(self.state.seed, stream, np.array([cell]), len(children))[0]
        tried: list[int] = []
        for child, threshold in zip(children, uniform, strict=True):
            draft, draft_probs = self.tree.tokens[child : child + 1], self._draft_probs(child, tried)
            accepted = self.rule(probs[None], draft_probs[None], draft, place, self.state.settings, self.codes)
            kept = bool(threshold < accepted.chances[0])
            self.judged.append((child, float(accepted.chances[0]), kept))
            if kept:
                return probs, child
            left = accepted.residuals[0]
            total = float(left.sum())
            probs = left / total if total > 0 else probs
            tried.append(int(draft[0]))
        return probs, -1

    def _draft_probs(self, child: int, tried: list[int]) -> Probs:
        """Return q of a draft, Float64[V]: without the siblings drawn before it; 1 at the draft if it is certain.

        It is certain, too, where these siblings were all that q draws: what follows them does not hang on the noise.
        """
        if self.tree.log_q is not None:
            draft_probs: Probs = np.exp(self.tree.log_q[child].astype(np.float64))
            draft_probs[tried] = 0
            total = float(draft_probs.sum())
            if total > 0:
                return draft_probs / total
        certain = np.zeros(self.log_probs.shape[1])
        certain[self.tree.tokens[child]] = 1
        return certain


def speculate_trees(
    state: ModelState, cells: Sequence[int], source: TreeSource, codes: Codes, progress: Callable[[int], None]
) -> None:
    """Decide cells in raster order; each step is one pass.

    Args:
        state: The target; mutated.
        cells: Grid positions, consecutive.
        source: Of trees.
        codes: The codebook.
        progress: Told how many cells each step decided.
    """
    left = list(cells)
    while left:
        tree = source.grow(left[0], len(left))
        answer, hidden = state.query_tree(left[0], tree)
        noise = np.zeros((len(answer.rows), state.entry.vocabulary), dtype=np.float32)
        log_probs = answer.draw(state.distribution, noise).log_probs
        walk = TreeWalk(state, tree, left, log_probs, codes)
        walk.walk()
        decided = left[: len(walk.tokens)]
        state.decide(decided, np.array(walk.tokens))
        state.take_hidden(decided[: len(walk.branch)], hidden[:, walk.branch])
        state.origin(left[0])[0].trees.append(
            TreeSpeculation(
                cell=left[0],
                tokens=tree.tokens,
                parents=tree.parents,
                depths=tree.depths,
                judged=np.array([node for node, _, _ in walk.judged], dtype=np.int64),
                chances=np.array([chance for _, chance, _ in walk.judged], dtype=np.float64),
                kept=np.array([kept for _, _, kept in walk.judged], dtype=np.bool_),
                decided=np.array(walk.tokens),
                draft_log_probs=tree.log_q if state.record_logits else None,
                logits=answer.logits() if state.record_logits else None,
            )
        )
        del left[: len(decided)]
        progress(len(decided))

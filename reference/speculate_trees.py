"""The executor of methods that draft trees (METHOD-6): of several drafts of a cell one stays, or none."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mulo_sd.reference.acceptances import ACCEPTANCES, Acceptor
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.drafts.tree import TreeSource
from mulo_sd.reference.noise import acceptance_stream, uniform_noise
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import TreeSpeculation
from mulo_sd.reference.trees import DraftTree


class TreeWalk:
    """Walks from the root of a tree to the first cell none of whose drafts stays.

    Args:
        state: The target.
        tree: Its drafts.
        cells: Grid positions: the one that the tree's first nodes draft, and those after it.
        log_probs: Float[1 + n, V], log p of the first cell, and of the cell after each node.
        rule: The acceptance.
        codes: The codebook.
    """

    def __init__(
        self, state: ModelState, tree: DraftTree, cells: Sequence[int], log_probs: Tensor, rule: Acceptor, codes: Codes
    ) -> None:
        self.state, self.tree, self.cells, self.log_probs = state, tree, cells, log_probs
        self.rule, self.codes = rule, codes
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
                self.tokens += self.state.draw([cell], left.log()[None].float(), 1 if children else 0).tolist()
                return
            self.branch.append(node)
            self.tokens.append(int(self.tree.tokens[node]))

    def _judge(self, depth: int, cell: int, node: int, children: list[int]) -> tuple[Tensor, int]:
        """Judge the drafts of a cell one after the other; return what is left of p, Float64[V], and which stays."""
        probs = self.log_probs[node + 1].double().exp()
        uniform = uniform_noise(self.state.seed, acceptance_stream(self.state.number), [cell], max(1, len(children)))[0]
        tried: list[int] = []
        for child, chance_of in zip(children, uniform, strict=False):
            token = int(self.tree.tokens[child])
            draft_probs = self._draft_probs(child, tried)
            place, draft = torch.tensor([depth]), torch.tensor([token])
            accepted = self.rule(probs[None], draft_probs[None], draft, place, self.state.settings, self.codes)
            kept = bool(chance_of < accepted.chances[0])
            self.judged.append((child, float(accepted.chances[0]), kept))
            if kept:
                return probs, child
            left = accepted.residuals[0]
            probs = left / left.sum() if float(left.sum()) > 0 else probs
            tried.append(token)
        return probs, -1

    def _draft_probs(self, child: int, tried: list[int]) -> Tensor:
        """Return q of a draft, Float64[V]: without the siblings drawn before it; 1 at the draft if it is certain.

        It is certain, too, where these siblings were all that q draws: what follows them does not hang on the noise.
        """
        if self.tree.log_q is not None:
            draft_probs = self.tree.log_q[child].double().exp()
            draft_probs[tried] = 0
            total = float(draft_probs.sum())
            if total > 0:
                return draft_probs / total
        certain = torch.zeros(self.log_probs.shape[1], dtype=torch.float64)
        certain[self.tree.tokens[child]] = 1
        return certain


def speculate_trees(state: ModelState, cells: Sequence[int], source: TreeSource, codes: Codes) -> None:
    """Decide cells in raster order; each step is one pass.

    Args:
        state: The target; mutated.
        cells: Grid positions, consecutive.
        source: Of trees.
        codes: The codebook.
    """
    rule, left = ACCEPTANCES[state.settings.decoding.acceptance or ""], list(cells)
    while left:
        tree = source.grow(left[0], len(left))
        logits, hidden = state.query_tree(left[0], tree)
        walk = TreeWalk(state, tree, left, state.log_probs(logits), rule, codes)
        walk.walk()
        decided = left[: len(walk.tokens)]
        state.decide(decided, torch.tensor(walk.tokens))
        state.take_hidden(decided[: len(walk.branch)], hidden[:, walk.branch])
        nodes, chances, kept = zip(*walk.judged, strict=True) if walk.judged else ((), (), ())
        state.origin(left[0])[0].trees.append(
            TreeSpeculation(
                cell=left[0],
                tokens=tree.tokens,
                parents=tree.parents,
                depths=tree.depths,
                judged=torch.tensor(nodes, dtype=torch.long),
                chances=torch.tensor(chances, dtype=torch.float64),
                kept=torch.tensor(kept, dtype=torch.bool),
                decided=torch.tensor(walk.tokens),
                draft_log_probs=tree.log_q if state.record_logits else None,
                logits=logits.clone() if state.record_logits else None,
            )
        )
        del left[: len(decided)]

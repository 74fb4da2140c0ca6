"""Mutants of trees of drafts: how they grow, who sees whom, and how siblings are judged (METHOD-6, MODE-LANTERN)."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from mulo_sd.conformance.mutants.drafters import first_attempt
from mulo_sd.conformance.mutants.methods import of
from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched
from mulo_sd.engines.loop import speculate_trees
from mulo_sd.engines.loop.drafts.tree import GrownTree
from mulo_sd.engines.loop.speculate_trees import TreeWalk
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.rules.acceptances import Accepted
from mulo_sd.engines.rules.branches import Tree
from mulo_sd.engines.rules.trees import DraftTree

TREES = import_module("mulo_sd.engines.loop.drafts.tree")


def _walked_by(rule: Callable[[Any, TreeWalk], Any]) -> Make:
    """Judge siblings by another rule."""

    def made(right: Any, walk: TreeWalk, *arguments: Any) -> None:
        right(walk, *arguments)
        walk.rule = rule(walk.rule, walk)

    return patched(TreeWalk, "__init__", made)


def _p_stays(right: Any, walk: TreeWalk) -> Any:
    """Leave p as it is where a sibling does not stay."""
    return lambda probs, *rest: replace(right(probs, *rest), residuals=probs)


def _not_renormalised(right: Any, walk: TreeWalk) -> Any:
    """Judge later siblings by what is left of p as it is, which sums to less than 1."""
    left = {"of": -1, "sum": 1.0}

    def rule(probs: Any, draft_probs: Any, drafts: Any, places: Any, *rest: Any) -> Accepted:
        if int(places[0]) != left["of"]:
            left.update({"of": int(places[0]), "sum": 1.0})
        accepted: Accepted = right(probs * left["sum"], draft_probs, drafts, places, *rest)
        left["sum"] = float(accepted.residuals.sum())
        return accepted

    return rule


def _certain(right: Any, walk: TreeWalk, child: int, tried: list[int]) -> Any:
    """Take every node for one that is certain."""
    log_q, tree = walk.tree.log_q, walk.tree
    certain = np.zeros(walk.log_probs.shape[1] if log_q is None else log_q.shape[1])
    certain[tree.tokens[child]] = 1
    return certain


def _not_without_siblings(right: Any, walk: TreeWalk, child: int, tried: list[int]) -> Any:
    """Keep the siblings that were rejected in q."""
    return right(walk, child, [])


def _drawn_from_p(right: Any, walk: TreeWalk, depth: int, cell: int, node: int, children: list[int]) -> Any:
    """Draw from p where no sibling stays."""
    left, child = right(walk, depth, cell, node, children)
    return (left if child >= 0 else np.exp(walk.log_probs[node + 1].astype(np.float64))), child


def _siblings_are_ancestors(right: Any, tree: DraftTree, cell: int) -> Tree:
    """Let a node see the sibling before it."""
    made: Tree = right(tree, cell)
    parents = made.parents.copy()
    for node, parent in enumerate(made.parents.tolist()):
        before = np.flatnonzero(made.parents[:node] == parent)
        if len(before):
            parents[node] = before[-1]
    return made._replace(parents=parents)


def _ancestors_are_hidden(right: Any, tree: DraftTree, cell: int) -> Tree:
    """Let a node see no other one."""
    made: Tree = right(tree, cell)
    return made._replace(parents=np.full_like(made.parents, -1))


def _of_the_last_token(right: Any, log_q: Any, scores: Any, parents: Any, top: int) -> Any:
    """Take a branch for as likely as its last token is."""
    return right(log_q, np.zeros_like(scores), parents, top)


def _first_come(right: Any, tree: GrownTree, cell: int, room: int) -> DraftTree:
    """Keep the nodes that were drafted first."""
    nodes = tree.state.settings.tree_nodes
    tree.state.settings = tree.state.settings.model_copy(update={"tree_nodes": 62})
    grown: DraftTree = right(tree, cell, room)
    tree.state.settings = tree.state.settings.model_copy(update={"tree_nodes": nodes})
    return DraftTree(grown.tokens[:nodes], grown.parents[:nodes], grown.depths[:nodes])


def _states_of_nodes_are_dropped(right: Any, model: ModelState, cells: Any, hidden: Any) -> None:
    """Forget the hidden states of nodes that are decided."""


_DYNAMIC, _LANTERN, _STATIC = of("eagle-tree"), of("lantern"), of("lantern-plus")

MUTANTS = (
    Mutant("p stays as it was behind a sibling", "ACCEPT-2", _walked_by(_p_stays), _DYNAMIC),
    Mutant("what siblings leave of p is not renormalised", "ACCEPT-2", _walked_by(_not_renormalised), _DYNAMIC),
    Mutant(
        "a rejected sibling stays in q",
        "ACCEPT-6",
        patched(TreeWalk, "_draft_probs", _not_without_siblings),
        _STATIC,
    ),
    Mutant("siblings that were drawn are certain", "ACCEPT-6", patched(TreeWalk, "_draft_probs", _certain), _STATIC),
    Mutant(
        "the token behind rejected siblings is drawn from p",
        "MODE-LANTERN",
        patched(TreeWalk, "_judge", _drawn_from_p),
        _LANTERN,
    ),
    Mutant(
        "siblings are judged the last first",
        "MODE-LANTERN",
        patched(DraftTree, "children", lambda right, tree, node: right(tree, node)[::-1]),
        _STATIC,
    ),
    Mutant(
        "siblings share an acceptance draw",
        "MODE-LANTERN",
        patched(
            speculate_trees,
            "uniform_noise",
            lambda right, *each: np.broadcast_to(right(*each)[:, :1], right(*each).shape),
        ),
        _LANTERN,
    ),
    Mutant(
        "the token behind siblings has the noise of the first attempt",
        "MODE-LANTERN",
        patched(speculate_trees, "noise_of", lambda right, model, cells, attempts: right(model, cells, 0 * attempts)),
        _LANTERN,
    ),
    Mutant("a node sees its sibling", "METHOD-6", patched(DraftTree, "at", _siblings_are_ancestors), _DYNAMIC),
    Mutant("a node does not see its ancestors", "METHOD-6", patched(DraftTree, "at", _ancestors_are_hidden), _DYNAMIC),
    Mutant(
        "branches grow by their last token alone", "MODE-EAGLE", patched(TREES, "_best", _of_the_last_token), _DYNAMIC
    ),
    Mutant("a tree keeps the nodes that came first", "MODE-EAGLE", patched(GrownTree, "grow", _first_come), _DYNAMIC),
    Mutant(
        "siblings are drawn by the same noise again",
        "MODE-LANTERN",
        patched(TREES, "gumbel_noise", first_attempt),
        _STATIC,
    ),
    Mutant(
        "hidden states of decided nodes are dropped",
        "MODE-EAGLE",
        patched(ModelState, "take_hidden", _states_of_nodes_are_dropped),
        _DYNAMIC,
    ),
)

"""Mutants of rows side by side, heads, trees, block drafters and zeros (METHOD-5, METHOD-6, MODE-UNMASKED)."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np

from mulo_sd.conformance.engines.cases import METHOD_SETTINGS
from mulo_sd.conformance.mutants.methods import of
from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched
from mulo_sd.engines.loop import speculate, speculate_trees, state
from mulo_sd.engines.loop.drafts import BlockDraft, HeadDraft
from mulo_sd.engines.loop.drafts.head_state import Drafted, HeadState
from mulo_sd.engines.loop.drafts.tree import GrownTree
from mulo_sd.engines.loop.speculate_trees import TreeWalk
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.passes.cached import CachedPasses
from mulo_sd.engines.rules.acceptances import Accepted
from mulo_sd.engines.rules.branches import Tree
from mulo_sd.engines.rules.corrections import Rows
from mulo_sd.engines.rules.slots import SlotTable
from mulo_sd.engines.rules.trees import DraftTree

HEAD_DRAFTS, TREES = (import_module(f"mulo_sd.engines.loop.drafts.{name}") for name in ("head", "tree"))


def _rows(**changes: Callable[[int], int]) -> Make:
    """Make rows of other numbers than the settings'."""

    def made(right: Any, rows: Rows, cells: Any, width: int, length: int, lead: int) -> None:
        right(rows, cells, width, length, lead)
        for name, change in changes.items():
            setattr(rows, name, change(getattr(rows, name)))

    return patched(Rows, "__init__", made)


def _windows_of_rows(change: Callable[[Rows, int, Any], Any]) -> Make:
    """Change the window of each open row."""

    def windows(right: Any, rows: Rows) -> Any:
        return [(row, change(rows, row, window)) for row, window in right(rows)]

    return patched(Rows, "_open_windows", windows)


def _overtakes(rows: Rows, row: int, window: Any) -> Any:
    """Let a row go a cell further than the one above."""
    end = rows.rows[row][-1]
    last = window.cells[-1]
    if window.draws or len(window.cells) >= rows.length or last == end:
        return window
    return replace(window, cells=[*window.cells, last + 1], drafted=window.drafted + 1)


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
    made = right(tree, cell)
    parents = made.parents.copy()
    for node, parent in enumerate(made.parents.tolist()):
        before = np.flatnonzero(made.parents[:node] == parent)
        if len(before):
            parents[node] = before[-1]
    return made._replace(parents=parents)


def _ancestors_are_hidden(right: Any, tree: DraftTree, cell: int) -> Tree:
    """Let a node see no other one."""
    made = right(tree, cell)
    return made._replace(parents=np.full_like(made.parents, -1))


def _attempt_0(right: Any, seed: int, stream: int, cells: Any, vocabulary: int, attempt: Any = 0) -> Any:
    """Draw by the noise of attempt 0."""
    return right(seed, stream, cells, vocabulary, 0)


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


def _target_states(right: Any, head: HeadState, cell: int) -> Drafted:
    """Go on with the target's state of the token before, and not with the head's own."""
    drafted = right(head, cell)
    last = cell + head.prefix_length - 1
    return drafted._replace(hidden=head.state.hidden[:, [last]])


def _own_token_state(right: Any, head: HeadState, positions: Any, tokens: Any, features: Any, *parents: Any) -> Any:
    """Feed decided tokens with the hidden state two tokens before."""
    if len(positions) and not parents and features.shape[1] > 1:
        features = np.concatenate([features[:, :1], features[:, :-1]], axis=1)
    return right(head, positions, tokens, features, *parents)


def _states_of_nodes_are_dropped(right: Any, model: ModelState, cells: Any, hidden: Any) -> None:
    """Forget the hidden states of nodes that are decided."""


def _short(right: Any, source: BlockDraft | HeadDraft, windows: Any) -> Any:
    """Draft a token less than a block or a chain has."""
    settings = source.state.settings
    changes = {"block": settings.block - 1, "draft_length": settings.draft_length - 1}
    source.state.settings = settings.model_copy(update=changes)
    try:
        return right(source, windows)
    finally:
        source.state.settings = settings


def _reads_masks(right: Any, block: BlockDraft, windows: Any) -> Any:
    """Feed the block drafter masks in place of what was decided."""
    own = block.own

    def decide(cells: Any, tokens: Any) -> None:
        ModelState.decide(own, cells, np.full_like(tokens, block.mask))

    with patch.object(own, "decide", decide):
        return right(block, windows)


def _zeros(right: Any, *arguments: Any) -> Any:
    """Hide positions that are not decoded yet."""
    *first, sees_zeros = arguments
    return right(*first, False)


_PJD, _EAGLE, _DYNAMIC, _LANTERN, _STATIC = map(of, ("pjd", "eagle", "eagle-tree", "lantern", "lantern-plus"))
_SPECDEC = of("specdec")
_ZEROS = tuple(item for item in METHOD_SETTINGS if item.decoding.sees_zeros)

MUTANTS = (
    Mutant(
        "a row sees the drafts of other rows",
        "METHOD-5",
        patched(speculate, "row_drafts", lambda right, windows: None),
        _PJD,
    ),
    Mutant(
        "a row's decided tokens stay its own",
        "METHOD-5",
        patched(CachedPasses, "open", lambda right, session, positions: None),
        _PJD,
    ),
    Mutant("a row opens a token early", "MODE-PJD", _rows(lead=lambda lead: lead - 1), _PJD),
    Mutant("a row opens a token late", "MODE-PJD", _rows(lead=lambda lead: lead + 1), _PJD),
    Mutant(
        "a lower row decides the cell that it rejects",
        "MODE-PJD",
        _windows_of_rows(lambda rows, row, window: replace(window, draws=True)),
        _PJD,
    ),
    Mutant("a row overtakes the one above", "MODE-PJD", _windows_of_rows(_overtakes), _PJD),
    Mutant(
        "the last cell of a row's window has a draft",
        "MODE-PJD",
        _windows_of_rows(lambda rows, row, window: replace(window, drafted=len(window.cells))),
        _PJD,
    ),
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
        patched(TREES, "gumbel_noise", _attempt_0),
        _STATIC,
    ),
    Mutant(
        "a chain is drawn by the same noise again",
        "MODE-EAGLE",
        patched(HEAD_DRAFTS, "gumbel_noise", _attempt_0),
        _EAGLE,
    ),
    Mutant(
        "a chain goes on from the target's state", "MODE-EAGLE", patched(HeadState, "catch_up", _target_states), _EAGLE
    ),
    Mutant(
        "a head is fed states of one token before", "MODE-EAGLE", patched(HeadState, "_run", _own_token_state), _EAGLE
    ),
    Mutant(
        "hidden states of decided nodes are dropped",
        "MODE-EAGLE",
        patched(ModelState, "take_hidden", _states_of_nodes_are_dropped),
        _DYNAMIC,
    ),
    Mutant("a chain is a token short", "MODE-COOLSD", patched(HeadDraft, "propose", _short), of("cool-sd")),
    Mutant("a block is a token short", "MODE-SPECDEC", patched(BlockDraft, "propose", _short), _SPECDEC),
    Mutant(
        "a block drafter reads masks for what was decided",
        "MODE-SPECDEC",
        patched(BlockDraft, "propose", _reads_masks),
        _SPECDEC,
    ),
    Mutant(
        "half of the positions not decoded yet are hidden",
        "MODE-UNMASKED",
        patched(SlotTable, "place_zeros", lambda right, table, positions: right(table, positions[::2])),
        _ZEROS,
    ),
    Mutant(
        "positions not decoded yet are hidden", "MODE-UNMASKED", patched(state, "TransformerSession", _zeros), _ZEROS
    ),
)

"""The stage of trees (METHOD-6): which drafts are judged, against what, and which cells are decided."""

from collections.abc import Iterator

import numpy as np
import torch

from mulo_sd.conformance.engines.cases import PROMPTS
from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.conformance.vectors.function_stages import PROBABILITY, Array, number
from mulo_sd.reference import demo, minimal
from mulo_sd.reference.acceptances import ACCEPTANCES
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.speculate_trees import TreeWalk
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Trace
from mulo_sd.reference.trees import DraftTree

CODES = 30
# Children of each node of a depth; how far q is from p; how many cells are undecided, where fewer than any tree needs.
TREES = (
    ((4, 2, 1), 0.5, 9),
    ((3, 3, 2), 0.3, 9),
    ((6, 1), 0.9, 9),
    *(((8, 2), 1.0, 9),) * 12,  # many a sibling is judged after others
    ((1, 1, 1, 1), 0.2, 9),
    ((2, 2, 2), 0.0, 3),
    ((1, 1), 0.0, 9),
    ((), 0.5, 9),
)


def _parents(children: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Return the parents and depths of a tree whose nodes of a depth have as many children each, parents first."""
    parents, depths, level = list[int](), list[int](), [-1]
    for depth, count in enumerate(children):
        first = len(parents)
        parents += [node for node in level for _ in range(count)]
        depths += [depth] * (len(parents) - first)
        level = list(range(first, len(parents)))
    return parents, depths


def _walk(tree: DraftTree, cells: range, probs: Array, seed: int) -> TreeWalk:
    """Walk a tree by ACCEPT-2; the model gives nothing but its number."""
    settings, condition = Settings(mode="eagle-tree"), demo.condition(PROMPTS[0], seed)
    state = ModelState(minimal.load().target, 0, condition, settings, seed, Trace(), record_logits=False)
    codes = Codes(torch.zeros(CODES, 1), torch.zeros(CODES, 1, dtype=torch.long))  # which ACCEPT-2 does not read
    walk = TreeWalk(state, tree, cells, torch.from_numpy(probs).log(), ACCEPTANCES["lossless"], codes)
    walk.walk()
    return walk


def _walks(generator: np.random.Generator) -> Iterator[Vector]:
    """Trees whose siblings are drawn from q without replacement, and trees of certain drafts."""
    for index, (children, distance, room) in enumerate((*TREES, *TREES)):
        is_certain = index >= len(TREES)
        parents, depths = _parents(children)
        probs, others = generator.dirichlet(np.full(CODES, 1.5), (2, 1 + len(parents)))
        after = (1 - distance) * probs + distance * others  # q of the drafts that follow each node
        tokens = np.zeros(len(parents), dtype=np.int64)
        for node in dict.fromkeys(parents):
            siblings = np.flatnonzero(np.array(parents) == node)
            tokens[siblings] = generator.choice(CODES, len(siblings), replace=False, p=after[node + 1])
        drawn_from = after[[node + 1 for node in parents]]
        draft_probs = np.eye(CODES)[tokens] if is_certain else drawn_from
        log_q = None if is_certain or not parents else torch.from_numpy(drawn_from).log()
        tree = DraftTree(torch.from_numpy(tokens), torch.tensor(parents).long(), torch.tensor(depths).long(), log_q)
        seed, cell = int(generator.integers(0, 2**63)), int(generator.integers(1, 50))
        walk = _walk(tree, range(cell, cell + room), probs, seed)
        inputs = {
            "seed": np.array(seed, dtype=np.uint64),
            "cell": number(cell),
            "undecided": number(room),
            "tokens": tokens,
            "parents": np.array(parents, dtype=np.int64),
            "probs": probs,
            "draft_probs": draft_probs,
        }
        answers = {
            "decided": np.array(walk.tokens, dtype=np.int64),
            "judged": np.array([node for node, _, _ in walk.judged], dtype=np.int64),
            "chances": np.array([chance for _, chance, _ in walk.judged], dtype=np.float64),
            "kept": np.array([kept for _, _, kept in walk.judged], dtype=np.bool_),
        }
        kind = "certain drafts" if is_certain else "drafts drawn"
        yield Vector(inputs, answers, f"{len(parents)} nodes, depth {len(children)}, {room} cells, {kind}")


TREE_STAGES = (
    Stage(
        "walk_tree",
        ("METHOD-6", "ACCEPT-2", "RNG-2"),
        {
            "seed": Field("", "0 to 2^64 - 1, unsigned"),
            "cell": Field("", "raster position of the first cell that is not decided, which the first nodes draft"),
            "undecided": Field("", "how many cells are not decided, from that one on"),
            "tokens": Field("n", "the draft token of each node, siblings in the order in which they are judged"),
            "parents": Field("n", "number of each node's parent; -1 of drafts of the first cell"),
            "probs": Field("1 + n, codes", "p of the first cell, and of the cell behind each node"),
            "draft_probs": Field(
                "n, codes", "q of each node, none of its siblings drawn yet; 1 at one that is certain"
            ),
        },
        {
            "decided": Output("m", "the tokens of the first cell and of those behind it"),
            "judged": Output("j", "the nodes that are judged, in their order"),
            "chances": Output("j", "with which each of them stays, by ACCEPT-2", tolerance=PROBABILITY),
            "kept": Output("j", "bool, whether it stays"),
        },
        _walks,
    ),
)

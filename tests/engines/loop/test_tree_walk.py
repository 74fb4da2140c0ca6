"""Walks along drafted trees at the edges of q: engines and reference judge alike, and by numbers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mulo_sd.engines.loop.speculate_trees import TreeWalk
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.trees import DraftTree
from mulo_sd.reference.acceptances import ACCEPTANCES
from mulo_sd.reference.codebook import Codes as ReferenceCodes
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.speculate_trees import TreeWalk as ReferenceWalk
from mulo_sd.reference.trees import DraftTree as ReferenceTree

CODES = 4
SIBLINGS = [2, 0, 1]
PROBS = np.array([0.1, 0.2, 0.3, 0.4])
SEEDS = range(60)


def judged_by_both(log_q: Any, seed: int) -> list[tuple[list[tuple[int, float, bool]], list[float]]]:
    """Return what engine and reference say of three siblings: chances and decisions, and what is left of p."""
    count = len(SIBLINGS)
    log_probs = np.tile(np.log(PROBS).astype(np.float32), (1 + count, 1))
    parents, depths = np.full(count, -1), np.zeros(count, dtype=np.int64)
    state: Any = SimpleNamespace(settings=Settings(mode="eagle-tree"), number=0, seed=seed)
    tree = DraftTree(np.array(SIBLINGS), parents, depths, log_q)
    vectors = np.zeros((CODES, 1), dtype=np.float32)
    walk = TreeWalk(state, tree, [7], log_probs, Codes(vectors, np.zeros((CODES, 1), dtype=np.int64)))
    left, _ = walk._judge(0, 7, -1, [0, 1, 2])
    there = ReferenceTree(
        torch.tensor(SIBLINGS), torch.from_numpy(parents), torch.from_numpy(depths), torch.from_numpy(log_q)
    )
    codes = ReferenceCodes(torch.zeros(CODES, 1), torch.zeros(CODES, 1, dtype=torch.long))
    theirs = ReferenceWalk(state, there, range(7, 8), torch.from_numpy(log_probs), ACCEPTANCES["lossless"], codes)
    expected, _ = theirs._judge(0, 7, -1, [0, 1, 2])
    return [(walk.judged, left.tolist()), (theirs.judged, expected.tolist())]


@pytest.mark.parametrize("probability", [1.0, 1e-200])
def test_siblings_beyond_what_q_draws_are_certain(probability: float) -> None:
    """With its only code gone q is empty: what follows does not hang on the noise, and p as a whole is drawn from."""
    log_q = np.full((3, CODES), -np.inf, dtype=np.float32)
    log_q[:, SIBLINGS[0]] = np.log(probability)
    decided = np.zeros(CODES)
    for seed in SEEDS:
        (ours, left), (theirs, expected) = judged_by_both(log_q, seed)
        np.testing.assert_allclose(left, expected)
        assert [(node, kept) for node, _, kept in ours] == [(node, kept) for node, _, kept in theirs]
        np.testing.assert_allclose([chance for _, chance, _ in ours], [chance for _, chance, _ in theirs])
        chances = [chance for _, chance, _ in ours]
        # 0.3 of the only code of q, then 0.1 of the 0.7 that are left of p, then 0.2 of 0.6.
        np.testing.assert_allclose(chances, [0.3, 0.1 / 0.7, 0.2 / 0.6][: len(chances)], rtol=1e-6)
        stays = [SIBLINGS[node] for node, _, kept in ours if kept]
        decided += np.eye(CODES)[stays[0]] if stays else left
    np.testing.assert_allclose(decided / len(SEEDS), PROBS, atol=0.2)

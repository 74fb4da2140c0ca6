"""Grouped acceptance (ACCEPT-3), GSD's; the engines' twin of the reference's."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens, at_most_one
from mulo_sd.engines.settings import Settings


def grouped(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token with min(1, sum p / sum q) over its group, else draw from the positive part of p - q."""
    group = group_of(probs, drafts, settings, codes)
    chances = at_most_one((probs * group).sum(axis=1), (draft_probs * group).sum(axis=1))
    return Accepted(chances, np.maximum(probs - draft_probs, 0))


def group_of(probs: Probs, drafts: Tokens, settings: Settings, codes: Codes) -> NDArray[np.bool_]:
    """Return which codes are grouped with each draft token, Bool[n, V]."""
    own = drafts[:, None]
    order = np.argsort(-probs, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(probs.shape[1])[None], axis=1)
    offset = ranks - np.take_along_axis(ranks, own, axis=1)
    near = (offset >= -(settings.group // 2)) & (offset <= (settings.group - 1) // 2)
    alike = np.abs(probs - np.take_along_axis(probs, own, axis=1)) < settings.group_probability
    rows, near_codes = np.nonzero(near & alike)
    vectors = codes.vectors.astype(np.float64)
    distances = np.square(vectors[near_codes] - vectors[drafts[rows]]).sum(axis=1)
    group = np.zeros(probs.shape, dtype=np.bool_)
    group[rows, near_codes] = distances < settings.group_distance
    np.put_along_axis(group, own, True, axis=1)
    return group

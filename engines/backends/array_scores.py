"""Sampling and acceptance on arrays in the host's memory: what the graphs `sampler` and `acceptance` compute.

For a backend whose logits lie there anyway. numpy sorts a row of 1,024 logits in 7 us where ONNX Runtime's TopK takes
60, and the sort is most of both graphs (docs/performance.md).
"""

import numpy as np

from mulo_sd.engines.backends.base import Draw, Floats, Judgement, PartedScores, Tokens
from mulo_sd.engines.backends.host_scores import HostLogits
from mulo_sd.engines.distribution import Distribution

_NOTHING = np.float32(-np.inf)


def guided(logits: Floats, scale: float) -> Floats:
    """Return the guided logits, Float32[n, V], of Float32[B, n, V], conditional first."""
    cond: Floats = logits[0]
    if len(logits) == 1 or scale == 1:
        return cond
    mixed: Floats = cond - logits[1]
    mixed *= np.float32(scale)
    mixed += logits[1]
    return mixed


def _filtered(warm: Floats, top_k: int, top_p: float) -> Floats:
    """Return logits Float32[n, V] with what top-k and top-p drop at -inf; of equal ones the lower code ranks first."""
    codes = warm.shape[1]
    last = top_k if 0 < top_k < codes else codes
    if last == codes and top_p >= 1:
        return warm
    ranked = np.sort(warm, axis=1)  # ascending
    kth = ranked[:, codes - last, None]
    if top_p >= 1:
        return np.where(warm >= kth, warm, _NOTHING)
    weights = np.exp(ranked - ranked[:, -1:])
    weights[ranked < kth] = 0
    sums = np.cumsum(weights[:, ::-1], axis=1)
    # Those whose sum does not exceed top-p's share of all, and one more, if top-k leaves so many.
    counted = (sums <= np.float32(top_p) * sums[:, -1:]).sum(axis=1) + 1
    counted = np.minimum(counted, (ranked >= kth).sum(axis=1))
    threshold = np.take_along_axis(ranked, codes - counted[:, None], axis=1)
    kept = warm >= threshold
    too_many = np.flatnonzero(kept.sum(axis=1) > counted)
    for row in too_many:  # several equal the threshold, and not all of them are kept
        equal = np.flatnonzero(warm[row] == threshold[row, 0])
        above = int((warm[row] > threshold[row, 0]).sum())
        kept[row, equal[max(int(counted[row]) - above, 0) :]] = False
    return np.where(kept, warm, _NOTHING)


def log_probs(logits: Floats, distribution: Distribution) -> Floats:
    """Return log p, Float32[n, V], of logits Float32[B, n, V] (DIST-1)."""
    mixed = guided(logits, distribution.guidance_scale)
    if distribution.temperature == 0:
        best = np.full(mixed.shape, _NOTHING)
        np.put_along_axis(best, mixed.argmax(axis=1)[:, None], 0, axis=1)
        return best
    if distribution.temperature != 1:
        mixed = mixed / np.float32(distribution.temperature)
    mixed = _filtered(mixed, distribution.top_k, distribution.top_p)
    largest = mixed.max(axis=1, keepdims=True)
    shifted: Floats = mixed - largest
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


class ArrayScores(HostLogits, PartedScores):
    """The scores of a pass whose logits are an array, Float32[B, T, V]; numpy samples and judges."""

    def last(self) -> "ArrayScores":
        """Return the last row's."""
        return ArrayScores(self.all[:, -1:].copy(), self.last_hidden())

    def part(self, first_row: int, batch: int, fed: int) -> "ArrayScores":
        """Return those of one of the decodes that shared a pass: its rows, and the tokens that it fed."""
        rows = slice(first_row, first_row + batch)
        return ArrayScores(self.all[rows, :fed], None if self.states is None else self.states[rows, :fed])

    def _draw(self, logits: Floats, distribution: Distribution, noise: Floats) -> Draw:
        drawn_from = log_probs(logits, distribution)
        return Draw((drawn_from + noise).argmax(axis=1), drawn_from)

    def _judge(self, logits: Floats, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        logs = log_probs(logits, distribution)
        probs = np.exp(logs)
        pooled: Floats = np.take_along_axis(probs, neighbours[draft_tokens], axis=1).sum(axis=1)
        logs[probs == 0] = 0  # 0 log 0 counts nothing
        return Judgement(pooled, -np.einsum("nv,nv->n", probs, logs))

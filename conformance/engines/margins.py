"""CONF-2's margins: what p_u, and every decision taken from it, may be where logits are off by a known error.

A logit error of at most e, on both halves of a guided pair, moves a guided logit by at most
(|s| + |1 - s|) e at scale s, and over the temperature T a logit of p_u by g = (|s| + |1 - s|) e / T. Hence

- a code that top-p keeps for certain, or only perhaps, follows from how many others can rank before it;
- a code may be drawn if no code that is kept for certain beats it by more than 2 g;
- a probability lies within a factor of exp(2 g), with the sum over either set of kept codes below it;
- an entropy changes by at most g times the mean deviation of log p from its mean, and a term in g squared.

A decision that may fall either way under these bounds is a near-tie; no other may differ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.reference.acceptance import accept_drafts
from mulo_sd.reference.largest_error import check_finite_numbers
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import ImageTokenizer

# Rounding of the float32 samplers themselves, in nats.
ROUNDING = 1e-5
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def rounded(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return bounds that leave room for rounding."""
    return low - ROUNDING, high + ROUNDING


@dataclass(frozen=True)
class Uncertain:
    """n rows of p_u as far as they are known.

    Attributes:
        logits: Float64[n, V], guided and tempered.
        error: Float64[n, 1], of each.
        sure: Bool[n, V], codes that top-p keeps in any case.
        possible: Bool[n, V], codes that it may keep.
    """

    logits: Floats
    error: Floats
    sure: Mask
    possible: Mask

    def tokens(self, noise: Floats) -> Mask:
        """Return which codes may be drawn with noise Float[n, V], Bool[n, V] (RNG-1)."""
        perturbed = self.logits + noise
        least = np.where(self.sure, perturbed - self.error, -np.inf).max(axis=1, keepdims=True)
        return np.asarray(self.possible & (perturbed + self.error >= least))

    def probs(self) -> tuple[Floats, Floats]:
        """Return the least and the largest probability of every code, Float64[n, V]."""
        weights = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        factor = np.exp(np.minimum(2 * self.error, 300.0))  # beyond, anything is possible
        most = (weights * self.possible).sum(axis=1, keepdims=True)
        fewest = np.maximum((weights * self.sure).sum(axis=1, keepdims=True), 1e-100)
        low = weights * self.sure / (factor * most)
        return low, np.minimum(weights * self.possible * factor / fewest, 1.0)

    def pooled(self, near: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the bounds of the sums over codes Int[n, k], Float64[n] (POOL-1)."""
        low, high = (np.take_along_axis(bound, near, axis=1).sum(axis=1) for bound in self.probs())
        return rounded(low, high)

    def entropies(self) -> tuple[Floats, Floats]:
        """Return the bounds of the entropies, nats, Float64[n] (LOCAL-3)."""
        weights = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        least, deviation = _entropy(weights * self.sure)
        _, other_deviation = _entropy(weights * self.possible)
        # What top-p may keep besides: a share of at most `doubt`, spread over `others` codes.
        doubt = 1 - (weights * self.sure).sum(axis=1) / (weights * self.possible).sum(axis=1)
        others = np.maximum((self.possible & ~self.sure).sum(axis=1), 1)
        half = np.clip(doubt, 1e-300, 0.5)
        mixing = np.where(doubt > 0, -half * np.log(half) - (1 - half) * np.log1p(-half), 0.0)
        # The entropy changes by -cov(log p, change) to first order: at most g times the mean deviation of log p.
        error, deviation = self.error[:, 0], np.maximum(deviation, other_deviation)
        change = error * deviation + error**2 * (1 + 4 * deviation)
        return rounded((1 - doubt) * least - change, least + doubt * np.log(others) + mixing + change)


def may_be_either(pooled: tuple[Floats, Floats], entropies: tuple[Floats, Floats], settings: Settings) -> Mask:
    """Return which draft tokens may be accepted as well as rejected, Bool[n], by whatever rule accepts (ACCEPT-1).

    Args:
        pooled: The bounds of the pooled probabilities, Float64[n] each.
        entropies: The bounds of the entropies, Float64[n] each.
        settings: Of the decode.
    """
    corners = [
        accept_drafts(torch.from_numpy(value), torch.from_numpy(nats), settings).numpy()
        for value in pooled
        for nats in entropies
    ]
    return np.asarray(np.any(corners, axis=0) & ~np.all(corners, axis=0))


def _entropy(weights: Floats) -> tuple[Floats, Floats]:
    """Return the entropy, and the mean deviation of log p, of each row of weights Float[n, V], Float64[n]."""
    probs = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-100)
    logs = np.log(np.where(probs > 0, probs, 1.0))
    entropy = -(probs * logs).sum(axis=1)
    return entropy, (probs * np.abs(logs + entropy[:, None])).sum(axis=1)


def uncertain(logits: NDArray[np.float32], errors: Floats, settings: Settings, raw: bool = False) -> Uncertain:
    """Return what is known of p_u from reference logits.

    Args:
        logits: Float32[B, n, V], conditional first.
        errors: Float[n], how far a logit of each row may be off.
        settings: DIST-1; temperature 0 and top-k are not covered.
        raw: Without temperature and filters (DIST-2).
    """
    if settings.temperature == 0 or settings.top_k > 0:
        raise ValueError("margins: expected a temperature above 0 and no top-k")
    scale, temperature = settings.guidance_scale, 1.0 if raw else settings.temperature
    check_finite_numbers(logits, "margins: logits")
    check_finite_numbers(errors, "margins: errors")
    wide = logits.astype(np.float64)
    guided = (wide[-1] + scale * (wide[0] - wide[-1])) / temperature
    guided -= guided.max(axis=1, keepdims=True)
    factor = abs(scale) + abs(1 - scale) if len(logits) == 2 else 1.0
    error = (np.asarray(errors, dtype=np.float64) * factor / temperature + ROUNDING)[:, None]
    sure = possible = np.ones(guided.shape, dtype=np.bool_)
    if not raw and settings.top_p < 1:
        sure, possible = _kept(guided, error, settings.top_p)
    return Uncertain(guided, error, sure, possible)


def _kept(logits: Floats, error: Floats, top_p: float) -> tuple[Mask, Mask]:
    """Return the codes that top-p keeps for certain, and those that it may keep, Bool[n, V] each."""
    order = np.argsort(-logits, axis=1)
    ranked = np.take_along_axis(logits, order, axis=1)
    probs = np.exp(ranked) / np.exp(ranked).sum(axis=1, keepdims=True)
    sums = np.concatenate([np.zeros((len(logits), 1)), probs.cumsum(axis=1)], axis=1)
    sure, possible = np.empty(logits.shape, dtype=np.bool_), np.empty(logits.shape, dtype=np.bool_)
    for row, values in enumerate(-ranked):  # ascending
        slack, codes = 2 * error[row, 0], order[row]
        # The share of the codes that rank before each: of those beyond doubt, and of all that might.
        surely_before = sums[row, np.searchsorted(values, values - slack, side="left")]
        maybe_before = sums[row, np.searchsorted(values, values + slack, side="right")] - probs[row]
        possible[row, codes] = surely_before * math.exp(-slack) <= top_p
        sure[row, codes] = maybe_before * math.exp(slack) <= top_p
    sure[np.arange(len(logits)), order[:, 0]] |= ranked[:, 0] - ranked[:, 1] > 2 * error[:, 0]  # never none
    return sure, possible


def repredictions_kept(draw: float, old: Uncertain, new: Uncertain, token: int) -> set[bool]:
    """Return how U * p_old < p_new may come out for one row each (SCHED-5)."""
    (old_low, old_high), (new_low, new_high) = (
        [bound[0, token] for bound in rounded(*rows.probs())] for rows in (old, new)
    )
    return {answer for answer, may in ((True, draw * old_low < new_high), (False, draw * old_high >= new_low)) if may}


def repredicted_tokens(old: Uncertain, new: Uncertain, noise: Floats) -> Mask:
    """Return which codes may be drawn from the positive part of p_new - p_old with noise Float[V], Bool[V]."""
    (old_low, old_high), (new_low, new_high) = old.probs(), new.probs()
    with np.errstate(divide="ignore"):
        least = np.log(np.maximum(new_low - old_high, 0))[0] + noise
        most = np.log(np.maximum(new_high - old_low + ROUNDING, 0))[0] + noise
    return np.asarray(most >= least.max())


def code_margins(tokenizer: ImageTokenizer, choose: Callable[[], Tensor]) -> tuple[NDArray[np.int64], Floats]:
    """Return what U_r or D_r chooses, Int[h, w], and how far ahead of the second-best each code is, Float[h, w].

    Args:
        tokenizer: Whose codes are chosen.
        choose: Calls the reference.
    """
    seen: list[Tensor] = []
    codes_from_features = tokenizer.codes_from_features

    def listen(features: Tensor) -> Tensor:
        seen.append(features)
        return codes_from_features(features)

    with torch.inference_mode(), patch.object(tokenizer, "codes_from_features", listen):
        chosen: NDArray[np.int64] = choose().numpy()
        features = check_finite_numbers(seen[-1], "the reference's features")
        products = features.flatten(0, 2) @ torch.nn.functional.normalize(tokenizer.codebook, dim=-1).t()
    best = products.topk(2, dim=-1).values
    return chosen, (best[:, 0] - best[:, 1]).reshape(chosen.shape).numpy()

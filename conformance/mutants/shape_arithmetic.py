"""Arithmetic that is wrong for many rows, codes or neighbours alone; `shapes` makes mutants of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.arithmetic import Arithmetic, Floats, log_softmax
from mulo_sd.engines.backends.base import Tensors

ROWS = 64  # rows from which the entropies are wrong


class NoiseOfTheFirstRow(Arithmetic):
    """Sample rows beyond the 16th with the first one's noise."""

    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        drawn = inputs["noise"].copy()
        drawn[16:] = drawn[0]
        return super().sampler(dict(inputs) | {"noise": drawn})


class DraftOfTheFirstRow(Arithmetic):
    """Judge rows beyond the 16th by the first one's draft."""

    def acceptance(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        draft = inputs["draft_tokens"].copy()
        draft[16:] = draft[0]
        return super().acceptance(dict(inputs) | {"draft_tokens": draft})


class EntropyOfTheFirstRows(Arithmetic):
    """Give rows beyond the 64th a mean entropy."""

    def entropies(self, probs: Floats, log_probs: Floats) -> Floats:
        values = super().entropies(probs, log_probs)
        values[ROWS:] = values[: max(0, len(values) - ROWS)][: len(values) - ROWS].mean() if len(values) > ROWS else 0
        return values


class DrawsAmong512(Arithmetic):
    """Draw from the first 512 codes."""

    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        log_probs = self.log_probs(inputs)
        return {"tokens": (log_probs + inputs["noise"])[:, :512].argmax(axis=1), "log_probs": log_probs}


class TopKAmong512(Arithmetic):
    """Rank the first 512 codes for top-k."""

    def top_k(self, logits: Floats, count: int) -> Floats:
        if not 0 < count < logits.shape[1]:
            return logits
        kth = np.sort(logits[:, :512], axis=1)[:, [-min(count, 512)]]
        return np.where(logits >= kth, logits, -np.inf).astype(np.float32)


class TopPAmong1024(Arithmetic):
    """Keep none but the first 1,024 codes in top-p."""

    def top_p(self, logits: Floats, share: Floats) -> Floats:
        kept = super().top_p(logits, share)
        return kept if share >= 1 else np.where(np.arange(logits.shape[1]) < 1024, kept, -np.inf).astype(np.float32)


class GreedyAmong1024(Arithmetic):
    """Take the best of 1,024 codes at temperature 0."""

    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        if temperature == 0:
            return super().tempered(np.where(np.arange(logits.shape[1]) < 1024, logits, -np.inf), temperature)
        return super().tempered(logits, temperature)


class SoftmaxOver1024(Arithmetic):
    """Add the first 1,024 codes up in the softmax."""

    def log_probs(self, inputs: Tensors) -> Floats:
        logits = self.guided(inputs["cond_logits"], inputs["uncond_logits"], inputs["guidance_scale"])
        filtered = self.filtered(logits, inputs)
        with np.errstate(invalid="ignore"):
            first = log_softmax(filtered[:, :1024])
            shift = first.max(axis=1, keepdims=True) - filtered[:, :1024].max(axis=1, keepdims=True)
            return np.asarray(filtered + shift)


class Pools32(Arithmetic):
    """Pool 32 neighbours."""

    def pooled(self, probs: Floats, draft_tokens: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Floats:
        return super().pooled(probs, draft_tokens, neighbours[:, :32])

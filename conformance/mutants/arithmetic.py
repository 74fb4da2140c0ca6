"""The sampler's and the acceptance's arithmetic in numpy, a method for each step, so that one step can be wrong."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.engines.backends.base import Backend, Tensors

Floats = NDArray[np.float32]


def log_softmax(logits: Floats) -> Floats:
    """Return log p along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


class Arithmetic:
    """DIST-1, RNG-1 and POOL-1 on whole arrays: what the graphs `sampler` and `acceptance` compute."""

    def guided(self, cond: Floats, uncond: Floats, scale: Floats) -> Floats:
        return uncond + scale * (cond - uncond)

    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        if temperature == 0:
            greedy = np.arange(logits.shape[1]) == logits.argmax(axis=1, keepdims=True)
            return np.where(greedy, logits, -np.inf).astype(np.float32)
        return logits / temperature

    def top_k(self, logits: Floats, count: int) -> Floats:
        if not 0 < count < logits.shape[1]:
            return logits
        kth = np.sort(logits, axis=1)[:, [-count]]
        return np.where(logits >= kth, logits, -np.inf).astype(np.float32)

    def before(self, ranked: Floats) -> Floats:
        """Return the probability of all codes that rank before each."""
        sums = np.cumsum(ranked, axis=1, dtype=np.float32)
        sums[:, 1:] = sums[:, :-1].copy()
        sums[:, 0] = 0
        return sums

    def too_much(self, before: Floats, share: Floats) -> NDArray[np.bool_]:
        """Return which codes top-p drops."""
        return np.asarray(before > share)

    def top_p(self, logits: Floats, share: Floats) -> Floats:
        if share >= 1:
            return logits
        order = np.argsort(-logits, axis=1, kind="stable")
        ranked = np.exp(log_softmax(np.take_along_axis(logits, order, axis=1)))
        dropped = self.too_much(self.before(ranked), share)
        dropped[:, 0] = False
        mask = np.empty_like(dropped)
        np.put_along_axis(mask, order, dropped, axis=1)
        return np.where(mask, -np.inf, logits).astype(np.float32)

    def filtered(self, logits: Floats, inputs: Tensors) -> Floats:
        warm = self.tempered(logits, inputs["temperature"])
        return self.top_p(self.top_k(warm, int(inputs["top_k"])), inputs["top_p"])

    def log_probs(self, inputs: Tensors) -> Floats:
        logits = self.guided(inputs["cond_logits"], inputs["uncond_logits"], inputs["guidance_scale"])
        with np.errstate(invalid="ignore"):
            return log_softmax(self.filtered(logits, inputs))

    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        log_probs = self.log_probs(inputs)
        return {"tokens": (log_probs + inputs["noise"]).argmax(axis=1), "log_probs": log_probs}

    def pooled(self, probs: Floats, draft_tokens: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Floats:
        result: Floats = np.take_along_axis(probs, neighbours[draft_tokens], axis=1).sum(axis=1)
        return result

    def entropies(self, probs: Floats, log_probs: Floats) -> Floats:
        result: Floats = -(probs * np.where(probs > 0, log_probs, 0)).sum(axis=1)
        return result

    def acceptance(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        log_probs = self.log_probs(inputs)
        probs = np.exp(log_probs)
        return {
            "pooled_probs": self.pooled(probs, inputs["draft_tokens"], inputs["neighbours"]),
            "log_probs": log_probs,
            "entropies": self.entropies(probs, log_probs),
        }


class ArithmeticBackend(UnscoredBackend):
    """A backend that samples and judges by some `Arithmetic`."""

    def __init__(self, right: Backend, arithmetic: Arithmetic) -> None:
        super().__init__(right)
        self.arithmetic = arithmetic

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if graph == "sampler":
            return self.arithmetic.sampler(inputs)
        if graph == "acceptance":
            return self.arithmetic.acceptance(inputs)
        return super().run(graph, inputs)

"""Mutants of the distribution, of pooling and of acceptance (DIST-1, DIST-2, POOL-1, ACCEPT-1, LOCAL-3)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend, Floats
from mulo_sd.conformance.mutants.mutant import Make, Mutant, on_backend, on_bundle, patched
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import Tensors
from mulo_sd.engines.loop import verify
from mulo_sd.engines.rules import acceptance


class _InvertedGuidance(Arithmetic):
    def guided(self, cond: Floats, uncond: Floats, scale: Floats) -> Floats:
        return cond + scale * (uncond - cond)


class _GuidanceFromCond(Arithmetic):
    def guided(self, cond: Floats, uncond: Floats, scale: Floats) -> Floats:
        return cond + scale * (cond - uncond)


class _Unguided(Arithmetic):
    def guided(self, cond: Floats, uncond: Floats, scale: Floats) -> Floats:
        return cond


class _LateTemperature(Arithmetic):
    def filtered(self, logits: Floats, inputs: Tensors) -> Floats:
        return self.tempered(
            self.top_p(self.top_k(logits, int(inputs["top_k"])), inputs["top_p"]), inputs["temperature"]
        )


class _TopPBeforeTopK(Arithmetic):
    def filtered(self, logits: Floats, inputs: Tensors) -> Floats:
        warm = self.tempered(logits, inputs["temperature"])
        return self.top_k(self.top_p(warm, inputs["top_p"]), int(inputs["top_k"]))


class _TopKAfterSoftmax(Arithmetic):
    def log_probs(self, inputs: Tensors) -> Floats:
        everything = super().log_probs(dict(inputs) | {"top_k": np.array(0)})
        return self.top_k(everything, int(inputs["top_k"]))


class _OneMoreByTopK(Arithmetic):
    def top_k(self, logits: Floats, count: int) -> Floats:
        return super().top_k(logits, count + 1 if count else 0)


class _WithoutCrossing(Arithmetic):
    def before(self, ranked: Floats) -> Floats:
        return np.cumsum(ranked, axis=1, dtype=np.float32)


class _WithoutEquality(Arithmetic):
    def too_much(self, before: Floats, share: Floats) -> NDArray[np.bool_]:
        return np.asarray((before >= share) & (before > 0))


class _MultipliedTemperature(Arithmetic):
    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        return logits * temperature


class _LastLargest(Arithmetic):
    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        log_probs = self.log_probs(inputs)
        order = np.argsort(log_probs + inputs["noise"], axis=1)
        return {"tokens": order[:, -2], "log_probs": log_probs}


class _NoiseOnProbabilities(Arithmetic):
    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        log_probs = self.log_probs(inputs)
        return {"tokens": (np.exp(log_probs) + inputs["noise"]).argmax(axis=1), "log_probs": log_probs}


class _PooledWithoutSelf(Arithmetic):
    def pooled(self, probs: Floats, draft_tokens: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Floats:
        return super().pooled(probs, draft_tokens, neighbours[:, 1:])


class _PooledByMaximum(Arithmetic):
    def pooled(self, probs: Floats, draft_tokens: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Floats:
        result: Floats = np.take_along_axis(probs, neighbours[draft_tokens], axis=1).max(axis=1)
        return result


class _EntropyInBits(Arithmetic):
    def entropies(self, probs: Floats, log_probs: Floats) -> Floats:
        return super().entropies(probs, log_probs) / np.float32(np.log(2))


def _with(arithmetic: type[Arithmetic]) -> Make:
    return on_backend(lambda right: ArithmeticBackend(right, arithmetic()))


def _unnormalised_neighbours(subject: Subject) -> dict[str, Any]:
    """Measure distances between codes as the tokenizer's file holds them, and not as the quantiser compares them."""
    codes = subject.models.tokenizer.codebook.numpy()
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=2)
    return {"neighbours": distances.argsort(axis=1)[:, : subject.pipeline.bundle.neighbours.shape[1]].copy()}


def _farthest_neighbours(subject: Subject) -> dict[str, Any]:
    """Sort cosines the wrong way round, after the code itself."""
    codes = subject.pipeline.bundle.codes
    order = (codes @ codes.T).argsort(axis=1)[:, : subject.pipeline.bundle.neighbours.shape[1] - 1]
    return {"neighbours": np.concatenate([np.arange(len(codes))[:, None], order], axis=1)}


def _one_neighbour_less(
    right: Any, state: Any, logits: Any, draft: Any, neighbours: Any, *rest: Any, **named: Any
) -> Any:
    return right(state, logits, draft, np.ascontiguousarray(neighbours[:, :-1]), *rest, **named)


MUTANTS = (
    Mutant("guidance has the other sign", "DIST-1", _with(_InvertedGuidance)),
    Mutant("guidance starts from the conditional logits", "DIST-1", _with(_GuidanceFromCond)),
    Mutant("guidance is left out", "DIST-1", _with(_Unguided)),
    Mutant("temperature comes after top-k and top-p", "DIST-1", _with(_LateTemperature)),
    Mutant("temperature multiplies", "DIST-1", _with(_MultipliedTemperature)),
    Mutant("top-p comes before top-k", "DIST-1", _with(_TopPBeforeTopK)),
    Mutant("top-k comes after the softmax, and nothing is renormalised", "POOL-1", _with(_TopKAfterSoftmax)),
    Mutant("top-k keeps one more", "DIST-1", _with(_OneMoreByTopK)),
    Mutant("top-p drops the code that crosses the threshold", "DIST-1", _with(_WithoutCrossing)),
    Mutant("top-p drops the code before which the sum equals it", "DIST-1", _with(_WithoutEquality)),
    Mutant("the second largest is drawn", "RNG-1", _with(_LastLargest)),
    Mutant("noise is added to probabilities", "RNG-1", _with(_NoiseOnProbabilities)),
    Mutant("pooling leaves out the token itself", "POOL-1", _with(_PooledWithoutSelf)),
    Mutant("pooling takes the largest", "POOL-1", _with(_PooledByMaximum)),
    Mutant("pooling takes one code less", "POOL-1", patched(verify, "judge", _one_neighbour_less)),
    Mutant("neighbours by codes that are not normalised", "POOL-1", on_bundle(_unnormalised_neighbours)),
    Mutant("neighbours are the farthest codes", "POOL-1", on_bundle(_farthest_neighbours)),
    Mutant("entropy in bits", "LOCAL-3", _with(_EntropyInBits)),
    Mutant(
        "> tau instead of >= tau",
        "ACCEPT-1",
        patched(acceptance, "accept", lambda right, pooled, tau: pooled > np.float32(tau)),
    ),
    Mutant(
        "a tau above 1 is 1",
        "ACCEPT-1",
        patched(acceptance, "accept", lambda right, pooled, tau: right(pooled, min(tau, 1))),
    ),
    Mutant(
        "accept_on is ignored",
        "DIST-2",
        patched(verify, "judge", lambda right, *arguments, raw=False: right(*arguments)),
    ),
)

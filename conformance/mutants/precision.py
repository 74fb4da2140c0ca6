"""Mutants that compute a step of sampling or acceptance in half precision, or in bfloat16 (DIST-1, RNG-1, POOL-1)."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend, Floats, log_softmax
from mulo_sd.conformance.mutants.mutant import Make, Mutant, on_backend, patched
from mulo_sd.conformance.mutants.scores import OwnScores, ScoresBackend, halved, rounded
from mulo_sd.engines.backends.base import Draw, Judgement, Tensors
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules import acceptance
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource


class _HalfSoftmax(Arithmetic):
    def log_probs(self, inputs: Tensors) -> Floats:
        return halved(super().log_probs(inputs))


class _HalfGuidance(Arithmetic):
    def guided(self, cond: Floats, uncond: Floats, scale: Floats) -> Floats:
        return super().guided(halved(cond), halved(uncond), scale)


class _HalfTemperature(Arithmetic):
    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        return super().tempered(logits, halved(temperature))


class _HalfTopP(Arithmetic):
    def before(self, ranked: Floats) -> Floats:
        sums = np.cumsum(ranked.astype(np.float16), axis=1, dtype=np.float16).astype(np.float32)
        sums[:, 1:] = sums[:, :-1].copy()
        sums[:, 0] = 0
        return sums


class _RoundedNoise(Arithmetic):
    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return super().sampler(dict(inputs) | {"noise": rounded(inputs["noise"], 8)})


class _HalfNoise(Arithmetic):
    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return super().sampler(dict(inputs) | {"noise": halved(inputs["noise"])})


class _HalfSums(Arithmetic):
    def pooled(self, probs: Floats, draft_tokens: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Floats:
        near = np.take_along_axis(probs, neighbours[draft_tokens], axis=1).astype(np.float16)
        total = near[:, 0]
        for column in range(1, near.shape[1]):
            total = total + near[:, column]
        return total.astype(np.float32)


class _HalfEntropies(Arithmetic):
    def entropies(self, probs: Floats, log_probs: Floats) -> Floats:
        return halved(super().entropies(probs, log_probs))


class _RoundedLogits(OwnScores):
    """Scores whose softmax takes logits in bfloat16."""

    def draw(self, rows: Any, distribution: Distribution, noise: Floats) -> Draw:
        _, log_probs = super().draw(rows, distribution, noise)
        kept = np.isfinite(log_probs)
        log_probs = log_softmax(np.where(kept, rounded(log_probs, 8), -np.inf).astype(np.float32))
        return Draw((log_probs + noise).argmax(axis=1), log_probs)


class _HalfScoreSums(OwnScores):
    """Scores that pool in half precision."""

    def judge(self, rows: Any, distribution: Distribution, draft_tokens: Any, neighbours: Any) -> Judgement:
        right = super().judge(rows, distribution, draft_tokens, neighbours)
        return replace(right, pooled_probs=halved(right.pooled_probs))


class _HalfScoreNoise(OwnScores):
    def noise(self, source: NoiseSource, cells: Any) -> Floats:
        return halved(super().noise(source, cells))


class _HalfBonus(OwnScores):
    def bonus(self, anchor: Anchor, cells: Any) -> Floats:
        return halved(super().bonus(anchor, cells))


def _with(arithmetic: type[Arithmetic]) -> Make:
    return on_backend(lambda right: ArithmeticBackend(right, arithmetic()))


def _scores(kind: type[OwnScores]) -> Make:
    return on_backend(lambda right: ScoresBackend(right, kind))


MUTANTS = (
    Mutant("log p in half precision", "DIST-1", _with(_HalfSoftmax)),
    Mutant("guidance in half precision", "DIST-1", _with(_HalfGuidance)),
    Mutant("the temperature in half precision", "DIST-1", _with(_HalfTemperature)),
    Mutant("top-p adds up in half precision", "DIST-1", _with(_HalfTopP)),
    Mutant("scores make log p in bfloat16", "DIST-1", _scores(_RoundedLogits)),
    Mutant("noise in half precision", "RNG-1", _with(_HalfNoise)),
    Mutant("noise in bfloat16", "RNG-1", _with(_RoundedNoise)),
    Mutant("scores make noise in half precision", "RNG-1", _scores(_HalfScoreNoise)),
    Mutant("the anchor's bonus in half precision", "ANCHOR-1", _scores(_HalfBonus)),
    Mutant("sums are pooled in half precision", "POOL-1", _with(_HalfSums)),
    Mutant("scores pool in half precision", "POOL-1", _scores(_HalfScoreSums)),
    Mutant("entropies in half precision", "LOCAL-3", _with(_HalfEntropies)),
    Mutant(
        "tau is compared in half precision",
        "ACCEPT-1",
        patched(acceptance, "accept", lambda right, pooled, tau: right(halved(pooled), float(halved(np.asarray(tau))))),
    ),
)

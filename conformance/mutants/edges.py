"""Mutants that answer otherwise on an edge alone: ties, sums that meet a limit, draws at equality."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend, Floats
from mulo_sd.conformance.mutants.mutant import Make, Mutant, on_backend, patched
from mulo_sd.engines.backends.base import Tensors
from mulo_sd.engines.loop import verify
from mulo_sd.engines.rules import acceptance


class _TopPKeepsTies(Arithmetic):
    """Compare with the last logit that is kept, and keep all that equal it."""

    def top_p(self, logits: Floats, share: Floats) -> Floats:
        kept = super().top_p(logits, share)
        last = np.where(np.isfinite(kept), kept, np.inf).min(axis=1, keepdims=True)
        return np.where(logits >= last, logits, -np.inf).astype(np.float32)


class _HigherFirst(Arithmetic):
    """Rank equal logits by code, the higher first."""

    def top_p(self, logits: Floats, share: Floats) -> Floats:
        return np.ascontiguousarray(super().top_p(np.ascontiguousarray(logits[:, ::-1]), share)[:, ::-1])


class _TopPAlways(Arithmetic):
    """Filter by top-p 1, too: what float32 adds up to 1 before the last code is all that is kept."""

    def top_p(self, logits: Floats, share: Floats) -> Floats:
        return super().top_p(logits, np.minimum(share, np.nextafter(np.float32(1), np.float32(0))))


class _TopKCutsTies(Arithmetic):
    def top_k(self, logits: Floats, count: int) -> Floats:
        if not 0 < count < logits.shape[1]:
            return logits
        ranks = np.argsort(np.argsort(-logits, axis=1, kind="stable"), axis=1)
        return np.where(ranks < count, logits, -np.inf).astype(np.float32)


class _TopKWraps(Arithmetic):
    """Take more than there are as what is left of them."""

    def top_k(self, logits: Floats, count: int) -> Floats:
        return super().top_k(logits, count % logits.shape[1] if count > logits.shape[1] else count)


class _GreedyKeepsTies(Arithmetic):
    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        if temperature == 0:
            return np.where(logits == logits.max(axis=1, keepdims=True), logits, -np.inf).astype(np.float32)
        return super().tempered(logits, temperature)


class _GreedyTakesTheLast(Arithmetic):
    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        if temperature == 0:
            return np.ascontiguousarray(super().tempered(logits[:, ::-1], temperature)[:, ::-1])
        return super().tempered(logits, temperature)


class _LastOfEquals(Arithmetic):
    def sampler(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        log_probs = self.log_probs(inputs)
        sums = (log_probs + inputs["noise"])[:, ::-1]
        return {"tokens": sums.shape[1] - 1 - sums.argmax(axis=1), "log_probs": log_probs}


class _ColdIsNotCertain(Arithmetic):
    """Divide by a small temperature in place of 0."""

    def tempered(self, logits: Floats, temperature: Floats) -> Floats:
        return super().tempered(logits, np.maximum(temperature, np.float32(0.05)))


def _with(arithmetic: type[Arithmetic]) -> Make:
    return on_backend(lambda right: ArithmeticBackend(right, arithmetic()))


def _next_radius(right: Any, entropies: Floats, radius: int, radius_nats: float) -> NDArray[np.int64]:
    """Let a mean that is short of a whole cell by a millionth buy it."""
    radii: NDArray[np.int64] = right(entropies * np.float32(1 + 1e-6), radius, radius_nats)
    return radii


def _not_quite(right: Any, entropies: Floats, radius: int, radius_nats: float) -> NDArray[np.int64]:
    """Let only what is more than a whole number buy it."""
    radii: NDArray[np.int64] = right(np.nextafter(entropies, np.float32(0)), radius, radius_nats)
    return radii


MUTANTS = (
    Mutant("top-p keeps all that equal its last code", "DIST-1", _with(_TopPKeepsTies)),
    Mutant("top-p ranks the higher of equal codes first", "DIST-1", _with(_HigherFirst)),
    Mutant("top-p 1 drops what float32 no longer adds", "DIST-1", _with(_TopPAlways)),
    Mutant("top-k keeps no more than k where logits are equal", "DIST-1", _with(_TopKCutsTies)),
    Mutant("top-k wraps around where it exceeds the vocabulary", "DIST-1", _with(_TopKWraps)),
    Mutant("temperature 0 keeps all of the largest", "DIST-1", _with(_GreedyKeepsTies)),
    Mutant("temperature 0 takes the last of the largest", "DIST-1", _with(_GreedyTakesTheLast)),
    Mutant("temperature 0 is a small one", "POOL-1", _with(_ColdIsNotCertain)),
    Mutant("the last of equal sums is drawn", "RNG-1", _with(_LastOfEquals)),
    Mutant(
        "a pooled probability next below tau is kept",
        "ACCEPT-1",
        patched(
            acceptance, "accept", lambda right, pooled, tau: right(pooled, float(np.nextafter(np.float32(tau), -1)))
        ),
    ),
    Mutant(
        "tau is not rounded to float32",
        "ACCEPT-1",
        patched(acceptance, "accept", lambda right, pooled, tau: (pooled.astype(np.float64) >= tau) & (tau <= 1)),
    ),
    Mutant("entropies buy a cell that they nearly pay", "LOCAL-3", patched(verify, "adaptive_radii", _next_radius)),
    Mutant(
        "entropies that just pay for a cell do not buy it", "LOCAL-3", patched(verify, "adaptive_radii", _not_quite)
    ),
)

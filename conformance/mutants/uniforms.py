"""Mutants of the last bits of noise and of acceptance draws, and of anchors (RNG-1, MODE-EXACT, ANCHOR-1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.mutants.arithmetic import Floats
from mulo_sd.conformance.mutants.mutant import Make, Mutant, on_backend, patched
from mulo_sd.conformance.mutants.scores import OwnScores, ScoresBackend
from mulo_sd.engines.rules import noise
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource, uniform_noise


def _of_24_bits(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the upper 24 bits of each word, as many as float32 has."""
    rounded: NDArray[np.float64] = (np.floor(uniform * 2.0**24) + 0.5) / 2.0**24
    return rounded


def _single(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to float32, and keep off 1, of which there is no noise."""
    largest = float(np.nextafter(np.float32(1), np.float32(0)))
    return np.minimum(uniform.astype(np.float32).astype(np.float64), largest)


def _single_logarithms(uniform: NDArray[np.float64]) -> Floats:
    noise: Floats = -np.log(-np.log(_single(uniform).astype(np.float32)))
    return noise


def _signed(seed: int) -> int:
    """Return the seed of which right code makes the key that code with signed seeds makes of this one."""
    value = seed - 2**64 if seed >= 2**63 else seed
    high = abs(value) // 2**32 * (1 if value >= 0 else -1)  # as C divides
    return seed % 2**32 + (high % 2**32) * 2**32


class _Own24Bits(OwnScores):
    def noise(self, source: NoiseSource, cells: Any) -> Floats:
        uniform = uniform_noise(source.seed, source.stream, np.asarray(cells), source.vocabulary)
        values: Floats = -np.log(-np.log(_of_24_bits(uniform)))
        return values.astype(np.float32)


class _OwnSingle(OwnScores):
    def noise(self, source: NoiseSource, cells: Any) -> Floats:
        uniform = uniform_noise(source.seed, source.stream, np.asarray(cells), source.vocabulary)
        return _single_logarithms(uniform)


class _OwnSigned(OwnScores):
    def noise(self, source: NoiseSource, cells: Any) -> Floats:
        return noise.gumbel_noise(_signed(source.seed), source.stream, np.asarray(cells), source.vocabulary)


class _OneStream(OwnScores):
    def noise(self, source: NoiseSource, cells: Any) -> Floats:
        return noise.gumbel_noise(source.seed, 0, np.asarray(cells), source.vocabulary)


class _Capped(OwnScores):
    """Cap the bonus at 64 nats."""

    def bonus(self, anchor: Anchor, cells: Any) -> Floats:
        return np.clip(super().bonus(anchor, cells), -64, 64)


class _HalfAngle(OwnScores):
    """Draw towards a draft by the angle's cosine from 0 on, and not away from what is opposite."""

    def bonus(self, anchor: Anchor, cells: Any) -> Floats:
        return np.maximum(super().bonus(anchor, cells), 0)


def _scores(kind: type[OwnScores]) -> Make:
    return on_backend(lambda right: ScoresBackend(right, kind))


def _seeded(change: Any) -> Make:
    return patched(noise, "uniform_noise", lambda right, seed, *rest, **named: right(change(seed), *rest, **named))


MUTANTS = (
    Mutant(
        "noise of 24 bits",
        "RNG-1",
        patched(noise, "uniform_noise", lambda right, *arguments, **named: _of_24_bits(right(*arguments, **named))),
    ),
    Mutant(
        "noise by logarithms in single precision",
        "RNG-1",
        patched(noise, "gumbel_noise", lambda right, *arguments: _single_logarithms(uniform_noise(*arguments))),
    ),
    Mutant("seeds are signed", "RNG-1", _seeded(_signed)),
    Mutant("seeds pass through double precision", "RNG-1", _seeded(lambda seed: int(float(seed)) % 2**64)),
    Mutant("scores make noise of 24 bits", "RNG-1", _scores(_Own24Bits)),
    Mutant("scores make noise in single precision", "RNG-1", _scores(_OwnSingle)),
    Mutant("scores take seeds as signed", "RNG-1", _scores(_OwnSigned)),
    Mutant("scores draw from the target's stream for all models", "RNG-2", _scores(_OneStream)),
    Mutant("the anchor is capped at 64 nats", "ANCHOR-1", _scores(_Capped)),
    Mutant("the anchor draws away from nothing", "ANCHOR-1", _scores(_HalfAngle)),
    Mutant(
        "strengths are capped at 10",
        "ANCHOR-1",
        patched(Anchor, "bonus", lambda right, anchor, cells: right(anchor, cells) * min(1.0, 10 / anchor.strength)),
    ),
)

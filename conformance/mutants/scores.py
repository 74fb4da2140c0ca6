"""Scores of a backend's own, a method for each step, so that one step can be wrong: noise, sums, what is left out."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Floats
from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors
from mulo_sd.engines.bundle.contract import GRAPHS_WITH_HIDDEN
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource

Tokens = NDArray[np.int64]


class OwnScores(ArrayScores):
    """Right scores, whose noise and bonus are methods."""

    def noise(self, source: NoiseSource, cells: Tokens) -> Floats:
        return source.rows(cells)

    def bonus(self, anchor: Anchor, cells: Tokens) -> Floats:
        return anchor.bonus(cells)

    def last(self) -> "OwnScores":
        return type(self)(self.all[:, -1:].copy(), self.last_hidden())

    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        own = self.noise(noise, cells)
        if anchor is not None:
            own = own + self.bonus(anchor, cells)
        return self.draw(rows, distribution, own).tokens


class ScoresBackend(UnscoredBackend):
    """A backend whose passes give scores of some kind."""

    changed_traits: ClassVar[Mapping[str, Any]] = {"scores": True, "scores_host_logits": True, "pools": False}

    def __init__(self, right: Backend, kind: type[OwnScores]) -> None:
        super().__init__(right)
        self.kind = kind

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> OwnScores:
        if graph in GRAPHS_WITH_HIDDEN:
            return self.kind(*self.feed_with_hidden(graph, cache, inputs))
        return self.kind(self.feed(graph, cache, inputs))

    def scores_of(self, logits: Floats) -> OwnScores:
        return self.kind(logits)


def rounded(values: NDArray[Any], bits: int) -> Floats:
    """Round float32 to as many bits of a mantissa, as bfloat16 (8) or TF32 (11) have."""
    words = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.int64)
    dropped = 24 - bits
    kept = (words + (1 << (dropped - 1))) >> dropped << dropped
    shortened: Floats = kept.astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(values), shortened, values).astype(np.float32)


def halved(values: NDArray[Any]) -> Floats:
    """Round to float16 and back."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float16).astype(np.float32)

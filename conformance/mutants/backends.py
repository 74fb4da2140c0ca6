"""Backends that are wrong altogether; a run against any of them must end red. Factories for `--backend`."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Floats
from mulo_sd.engines.backends import make_backend
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors
from mulo_sd.engines.bundle import Bundle

Factory = Callable[[Bundle, int | None], Backend]


class _Refusing(UnscoredBackend):
    """Supports nothing."""

    changed_traits: ClassVar[Mapping[str, Any]] = {**UnscoredBackend.changed_traits, "capabilities": frozenset()}


class _NotANumber(UnscoredBackend):
    """Returns NaN for every logit."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        return np.full_like(super().feed(graph, cache, inputs), np.nan)


class _RightOnce(UnscoredBackend):
    """Is right for the first pass of each cache, and gives that pass's last row for ever after."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.first: dict[int, Floats] = {}

    def new_cache(self, graph: str, batch: int) -> KVCache:
        cache = super().new_cache(graph, batch)
        self.first.pop(id(cache), None)
        return cache

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        if id(cache) not in self.first:
            self.first[id(cache)] = super().feed(graph, cache, inputs)
            return self.first[id(cache)]
        return self.first[id(cache)][:, -1:].repeat(inputs["tokens"].shape[1], axis=1)


class _NotDeterministic(UnscoredBackend):
    """Is right within any tolerance, and never twice the same."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.generator = np.random.default_rng()

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        logits = super().feed(graph, cache, inputs)
        return logits + self.generator.uniform(-5e-4, 5e-4, logits.shape).astype(np.float32)


class _Widened(UnscoredBackend):
    """Gives a pass of several tokens the logits of hotter models: sweeps draw images of another distribution."""

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        logits = super().feed(graph, cache, inputs)
        return logits if inputs["tokens"].shape[1] == 1 else logits * np.float32(0.97)


def _around(kind: Callable[[Backend], Backend]) -> Factory:
    def make(bundle: Bundle, threads: int | None) -> Backend:
        return kind(make_backend("ort", bundle, threads))

    return make


refusing = _around(_Refusing)
not_a_number = _around(_NotANumber)
right_once = _around(_RightOnce)
not_deterministic = _around(_NotDeterministic)
widened = _around(_Widened)
WRONG_BACKENDS = ("refusing", "not_a_number", "right_once", "not_deterministic", "widened")

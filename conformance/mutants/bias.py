"""Mutants whose logits are off to one side by less than any tolerance (CONF-1)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Floats
from mulo_sd.conformance.mutants.mutant import Make, Mutant, on_backend
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors

# Float32 bundles state a tolerance of 1e-3.
TOLERANCE = np.float32(1e-3)
Bias = Callable[[Floats, Tensors], Floats]


class _Biased(UnscoredBackend):
    """Add something to all logits of a pass, Float32[B, T, V]."""

    def __init__(self, right: Backend, bias: Bias) -> None:
        super().__init__(right)
        self.bias = bias

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        logits = super().feed(graph, cache, inputs)
        biased: Floats = (logits + self.bias(logits, inputs)).astype(np.float32)
        return biased


def _by(bias: Bias) -> Make:
    return on_backend(lambda right: _Biased(right, bias))


def _where(index: Any, share: float) -> Bias:
    """Return what adds a share of the tolerance in some places of [B, T, V]."""

    def bias(logits: Floats, inputs: Tensors) -> Floats:
        found = np.zeros_like(logits)
        found[index] = np.float32(share) * TOLERANCE
        return found

    return bias


def _at_a_position(logits: Floats, inputs: Tensors) -> Floats:
    return np.where(inputs["positions"] == inputs["positions"].dtype.type(40), 0.3 * TOLERANCE, 0)[..., None]


def _by_width(logits: Floats, inputs: Tensors) -> Floats:
    """Err to one side in passes of one token, and to the other in wider ones, each within the tolerance."""
    side = 1 if inputs["tokens"].shape[1] == 1 else -1
    return np.where(np.arange(logits.shape[-1]) % 2, side, -side).astype(np.float32) * np.float32(0.7) * TOLERANCE


MUTANTS = (
    Mutant("a code is off by 0.6 of the tolerance", "CONF-1", _by(_where(np.s_[..., 17], 0.6))),
    Mutant("a code of the null half is off by a tenth of the tolerance", "CONF-1", _by(_where(np.s_[-1:, :, 5], 0.1))),
    Mutant("all codes are off together by 0.6 of the tolerance", "CONF-1", _by(_where(np.s_[:], 0.6))),
    Mutant("every other code is off by 0.6 of the tolerance", "CONF-1", _by(_where(np.s_[..., ::2], 0.6))),
    Mutant("a pass's last row is off by 0.3 of the tolerance", "CONF-1", _by(_where(np.s_[:, -1], 0.3))),
    Mutant("a position is off by 0.3 of the tolerance", "CONF-1", _by(_at_a_position)),
    Mutant("narrow and wide passes err to opposite sides", "CONF-6", _by(_by_width)),
    Mutant("logits are too large by one part in 20,000", "CONF-1", _by(lambda logits, inputs: logits * 5e-5)),
)

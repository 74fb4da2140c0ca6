"""Decisions that lie on an edge: a sum equal to tau, an entropy that just buys a cell.

The loop decides them from what `acceptance` returns. A backend of ours stands between them and returns the number that
lies on the edge, or the float32 next to it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.engines.cases import PROMPTS
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.engines.probes.probe import Listening
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import KVCache, Tensors
from mulo_sd.engines.loop.decode import Decoded

TAUS = (0.1, 0.2, 1 / 3, 0.7, 1.0)
RADIUS = 3
Scripted = Callable[[NDArray[np.int64]], NDArray[np.float32]]


class _Scripted(Listening):
    """Judges by a script: of the cells that are judged it says what is returned for them."""

    def __init__(self, right: Any, prefix_length: int, output: str, script: Scripted) -> None:
        super().__init__(right)
        self.prefix_length, self.output, self.script = prefix_length, output, script
        self.cell_of: dict[bytes, int] = {}

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        logits = super().feed(graph, cache, inputs)
        for row, position in enumerate(inputs["positions"][0].tolist()):
            self.cell_of[logits[0, row].tobytes()] = position + 1 - self.prefix_length
        return logits

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        outputs = super().run(graph, inputs)
        if graph == "acceptance":
            cells = [self.cell_of[row.tobytes()] for row in np.asarray(inputs["cond_logits"])]
            outputs = outputs | {self.output: self.script(np.array(cells))}
        return outputs


def _decode(subject: Subject, output: str, script: Scripted, seed: int, **changes: Any) -> Decoded:
    bundle = subject.pipeline.bundle
    backend = _Scripted(subject.pipeline.backend, bundle.manifest.target.prefix_length, output, script)
    pipeline = engines.Pipeline(bundle, backend)
    condition = engine_condition(condition_of(subject.models, PROMPTS[1], 3))
    return pipeline.decode(condition, pipeline.settings(drafters=(1,), top_k=0, anchor=0.0, **changes), seed)


def tau_is_met_exactly(subject: Subject) -> None:
    """ACCEPT-1: a pooled probability that is tau in float32 is kept, the float32 below it is not."""
    for tau in TAUS:
        limit = np.float32(tau)
        for kept, value in ((True, limit), (False, np.nextafter(limit, np.float32(0)))):
            decoded = _decode(
                subject,
                "pooled_probs",
                lambda cells, value=value: np.full(len(cells), value),  # type: ignore[misc]  # bound for the loop
                5,
                mode="parallel",
                tau=tau,
                guidance_scale=1.0,
            )
            decisions = np.concatenate([cycle.kept for cycle in decoded.trace.cycles_of(0)])
            assert (decisions == kept).all(), f"tau {tau:.9g}: pooled {value:.9g} is {'rejected' if kept else 'kept'}"


def entropies_buy_whole_cells(subject: Subject) -> None:
    """LOCAL-3: a mean entropy of n times radius_nats buys n cells, and a little less buys n - 1; at most the radius."""
    for nats in (0.5, 1.0):
        for count in range(1, RADIUS + 2):
            value = np.float32(nats * count)
            for less, entropy in ((0, value), (1, np.nextafter(value, np.float32(0)))):
                decoded = _decode(
                    subject,
                    "entropies",
                    lambda cells, entropy=entropy: np.full(len(cells), entropy),  # type: ignore[misc]  # as above
                    5,
                    mode="parallel",
                    tau=0.0,
                    radius=RADIUS,
                    radius_nats=nats,
                    guidance_scale=1.0,
                )
                radii = np.unique(np.concatenate([cycle.radii for cycle in decoded.trace.cycles_of(0)])).tolist()
                expected = min(count - less, RADIUS)
                assert radii == [expected], (
                    f"radius_nats {nats}: entropies of {entropy:.9g} everywhere give radii {radii}, expected {expected}"
                )

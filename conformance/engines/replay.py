"""Teacher forcing: an engine is fed exactly the passes that the reference made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.engines.cases import Case
from mulo_sd.conformance.engines.conditions import engine_condition
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.reference.decode import Condition, Decoded
from mulo_sd.reference.largest_error import check_finite_numbers
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Cycle, Pass

Logits = NDArray[np.float32]
# Shares of the decisions of a kind, for models that are about as sure of themselves as the demo's.
MAX_NEAR_TIES = {"fp32": 0.003, "fp16": 0.04, "bf16": 0.3}


def array(tensor: Any) -> NDArray[Any]:
    """Return a trace's array, of the engines or of the reference, as numpy's."""
    return np.asarray(tensor)


def source(passes: Sequence[Any], number: int, cell: int) -> tuple[int, int]:
    """Return the pass and its row that the logits of a cell come from: pass `number`, or the prefill for cell 0."""
    model = passes[number].model
    prefill = next(index for index, item in enumerate(passes) if item.model == model)
    prefix_length = int(passes[prefill].positions[-1]) + 1  # padding is not fed, but the last place always is
    origin = number if cell > 0 else prefill
    return origin, int(np.searchsorted(array(passes[origin].positions), prefix_length + cell - 1))


def reference_logits(made: Pass) -> Logits:
    """Return the logits of a pass of the reference, Float32[B, T, V]."""
    if made.logits is None:
        raise ValueError("trace: expected logits, got a trace made without record_logits")
    logits: Logits = made.logits.numpy()
    return logits


@dataclass(frozen=True)
class Replayed:
    """A decode of the reference, and the logits that an engine gives for each of its passes.

    Attributes:
        case: How it was decoded.
        pipeline: The engine.
        settings: The reference's.
        decoded: With logits.
        engine_logits: Float32[B, T, V] of every pass.
        max_near_ties: Share of the decisions of a kind that precision may excuse.
    """

    case: Case
    pipeline: engines.Pipeline
    settings: Settings
    decoded: Decoded
    engine_logits: list[Logits]
    max_near_ties: float

    @property
    def engine_settings(self) -> engines.Settings:
        """The same settings, as the engines' class."""
        return self.pipeline.settings(**self.case.changes)

    @property
    def precision(self) -> str:
        """Of the engine."""
        return self.pipeline.bundle.manifest.precision

    def rows(self, number: int, cells: Sequence[int]) -> tuple[Logits, Logits, NDArray[np.float32]]:
        """Return the logits of cells by the engine and by the reference, Float32[B, n, V], and their distance [n]."""
        passes = self.decoded.trace.passes
        places = [source(passes, number, cell) for cell in cells]
        ours = np.stack([self.engine_logits[origin][:, row] for origin, row in places], axis=1)
        theirs = np.stack([reference_logits(passes[origin])[:, row] for origin, row in places], axis=1)
        for what, logits in (("the engine's", ours), ("the reference's", theirs)):
            check_finite_numbers(logits, f"pass {number}: {what} logits")  # an error of NaN would be within any bound
        return ours, theirs, np.abs(ours - theirs).max(axis=(0, 2))

    def cycle_cells(self, cycle: Cycle) -> range:
        """Return the cells of a cycle's window."""
        width = cycle.kept.shape[1]
        return range(cycle.first_row * width, cycle.last_row * width)


def replay(
    case: Case,
    pipeline: engines.Pipeline,
    settings: Settings,
    decoded: Decoded,
    condition: Condition,
    max_near_ties: float | None = None,
) -> Replayed:
    """Feed every pass of a reference trace to the engines."""
    null, guidance_scale = pipeline.bundle.null_conditions, settings.guidance_scale
    model_condition = engine_condition(condition)
    sessions: dict[int, TransformerSession] = {}
    logits = []
    for made in decoded.trace.passes:
        entry = pipeline.bundle.manifest.models[made.model]
        if made.model not in sessions:
            sessions[made.model] = TransformerSession(
                pipeline.backend,
                entry,
                model_condition.prefixes(null[made.model], guidance_scale),
                model_condition.places(),
                model_condition.passing(),
            )
            logits.append(sessions[made.model].prefill().logits())
        else:
            cells = made.positions.numpy() - entry.prefix_length
            logits.append(sessions[made.model].feed(cells, made.tokens.numpy()).logits())
    if max_near_ties is None:
        max_near_ties = MAX_NEAR_TIES[pipeline.bundle.manifest.precision]
    return Replayed(case, pipeline, settings, decoded, logits, max_near_ties)

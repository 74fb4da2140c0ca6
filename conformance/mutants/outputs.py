"""Mutants of outputs that a decode reads in part, or with some settings alone."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Arithmetic, ArithmeticBackend, Floats
from mulo_sd.conformance.mutants.mutant import Make, Mutant, on_backend, patched
from mulo_sd.conformance.mutants.scores import OwnScores, ScoresBackend
from mulo_sd.engines.backends.base import Backend, Draw, Judgement, KVCache, Tensors
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.loop import decode


class _UnnormalisedAcceptance(Arithmetic):
    """Return logits for log p, of which acceptance needs no sum."""

    def acceptance(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        logits = self.guided(inputs["cond_logits"], inputs["uncond_logits"], inputs["guidance_scale"])
        return super().acceptance(inputs) | {"log_probs": self.filtered(logits, inputs)}


class _NoEntropies(OwnScores):
    """Leave entropies out of a raw judgement, of which no decode reads them."""

    def judge(self, rows: Any, distribution: Distribution, draft_tokens: Any, neighbours: Any) -> Judgement:
        right = super().judge(rows, distribution, draft_tokens, neighbours)
        if distribution != distribution.raw():
            return right
        return replace(right, entropies=np.zeros_like(right.entropies))


class _ProcessedEntropies(OwnScores):
    """Return the entropies of what was judged before without being raw, where a raw judgement follows."""

    processed: Distribution | None = None

    def judge(self, rows: Any, distribution: Distribution, draft_tokens: Any, neighbours: Any) -> Judgement:
        right = super().judge(rows, distribution, draft_tokens, neighbours)
        if distribution != distribution.raw():
            self.processed = distribution
        if self.processed is None:
            return right
        return replace(right, entropies=super().judge(rows, self.processed, draft_tokens, neighbours).entropies)


class _DrawsWithoutNoise(OwnScores):
    """Draw the likeliest, where noise is given: what is predicted again throws the token away."""

    def draw(self, rows: Any, distribution: Distribution, noise: Floats) -> Draw:
        tokens, log_probs = super().draw(rows, distribution, noise)
        return Draw(tokens if len(tokens) > 1 else log_probs.argmax(axis=1), log_probs)


class _LastRowOfScaling(UnscoredBackend):
    """Return zeros in the last row of what is enlarged: with rows drafted ahead, it is thrown away."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        outputs = super().run(graph, inputs)
        if graph.startswith("up_sampler") and inputs["low_tokens"].shape[0] * 2 < outputs["high_tokens"].shape[1]:
            high = outputs["high_tokens"].copy()
            high[-1] = 0
            outputs = {"high_tokens": high}
        return outputs


class _FirstRowsOfShrinking(UnscoredBackend):
    """Return zeros in all rows but the last of what is shrunk: earlier cycles have taken theirs."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        outputs = super().run(graph, inputs)
        if graph.startswith("down_sampler"):
            low = outputs["low_tokens"].copy()
            low[:-1] = 0
            outputs = {"low_tokens": low}
        return outputs


class _LastIsAView(OwnScores):
    """Keep no copy of the last row."""

    def last(self) -> OwnScores:
        return type(self)(self.all[:, -1:])


class _OneBuffer(ScoresBackend):
    """Write each pass's logits over those of the pass before."""

    def __init__(self, right: Backend) -> None:
        super().__init__(right, _LastIsAView)
        self.buffers: dict[tuple[str, int], Floats] = {}

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> OwnScores:
        logits = self.feed(graph, cache, inputs)
        batch, fed, codes = logits.shape
        key = (graph, batch)
        if key not in self.buffers or self.buffers[key].shape[1] < fed:
            self.buffers[key] = np.zeros((batch, max(fed, 64), codes), dtype=np.float32)
        buffer = self.buffers[key]
        buffer[:] = 0
        buffer[:, :fed] = logits
        return self.kind(buffer[:, :fed])


def _with(arithmetic: type[Arithmetic]) -> Make:
    return on_backend(lambda right: ArithmeticBackend(right, arithmetic()))


def _scores(kind: type[OwnScores]) -> Make:
    return on_backend(lambda right: ScoresBackend(right, kind))


def _untold(field: str) -> Make:
    """Leave a field of what exact verification found as if nothing had been found."""

    def wrong(right: Any, *arguments: Any) -> Any:
        verdict = right(*arguments)
        value = getattr(verdict, field)
        return replace(verdict, **{field: np.ones_like(value) if field == "radii" else np.zeros_like(value)})

    return patched(decode, "verify_exactly", wrong)


MUTANTS = (
    Mutant("acceptance returns logits for log p", "DIST-1", _with(_UnnormalisedAcceptance)),
    Mutant("entropies are left out of a raw judgement", "LOCAL-3", _scores(_NoEntropies)),
    Mutant("entropies of a raw judgement are those of p", "LOCAL-3", _scores(_ProcessedEntropies)),
    Mutant("one row is drawn without its noise", "RNG-1", _scores(_DrawsWithoutNoise)),
    Mutant("the up-sampler's last row is nothing", "SCALE-1", on_backend(_LastRowOfScaling)),
    Mutant("the down-sampler's earlier rows are nothing", "SCALE-2", on_backend(_FirstRowsOfShrinking)),
    Mutant("the last row's scores are overwritten by the next pass", "GRID-2", on_backend(_OneBuffer)),
    Mutant("exact verification tells no probabilities", "MODE-EXACT", _untold("pooled_probs")),
    Mutant("exact verification tells radii", "MODE-EXACT", _untold("radii")),
    Mutant("exact verification tells no R_X", "MODE-EXACT", _untold("resampled")),
)

"""How far a decode agrees with the target: by scene score in a world, elsewhere by likelihood; and image distance."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mulo_sd import engines
from mulo_sd.conformance.calibrate.candidates import Candidate
from mulo_sd.conformance.calibrate.search import Sample
from mulo_sd.conformance.worlds.world import World


@dataclass(frozen=True)
class Baseline:
    """The target's own image of a prompt."""

    result: engines.Result
    value: float  # scene: 1 if the prompt holds; likelihood: mean log p of a token, nats


class Meter:
    """Measures candidates against MODE-AR at the same prompts and seeds.

    Args:
        pipeline: Over the bundle.
        prompts: To draw.
        mode: Of the candidates.
        judge: Says whether an image shows what its prompt asks for; None measures agreement by likelihood.
    """

    def __init__(self, pipeline: engines.Pipeline, prompts: list[str], mode: engines.Mode, judge: World | None) -> None:
        self.pipeline, self.prompts, self.mode, self.judge = pipeline, prompts, mode, judge
        self.baselines: dict[int, Baseline] = {}
        self.conditions: dict[int, engines.Condition] = {}
        self.distances: dict[Candidate, list[float]] = {}
        self._draw(0, mode)  # the first run of each graph prepares it; no candidate should pay for that

    def _value(self, number: int, result: engines.Result) -> float:
        if self.judge is not None:
            return float(self.judge.holds(self.prompts[number], np.asarray(result.image)))
        return float(self.pipeline.token_log_probs(self._condition(number), None, result.tokens).mean())

    def baseline(self, number: int) -> Baseline:
        """Return the target's own image of a prompt, drawn once."""
        if number not in self.baselines:
            result = self._draw(number, "ar")
            self.baselines[number] = Baseline(result, self._value(number, result))
        return self.baselines[number]

    def _draw(self, number: int, mode: engines.Mode, **settings: Any) -> engines.Result:
        return self.pipeline.generate(self._condition(number), seed=number, mode=mode, **settings)

    def _condition(self, number: int) -> engines.Condition:
        """Return what a prompt asks for, made once: a text model takes longer than a decode."""
        if number not in self.conditions:
            self.conditions[number] = self.pipeline.describe(self.prompts[number], number).condition
        return self.conditions[number]

    def measure(self, candidate: Candidate, number: int) -> Sample:
        """Draw a prompt as a candidate says and compare it with the target's own image."""
        baseline = self.baseline(number)
        started = time.perf_counter()
        result = self._draw(number, self.mode, **vars(candidate))
        seconds = time.perf_counter() - started
        difference = np.asarray(result.image, np.float64) - np.asarray(baseline.result.image, np.float64)
        self.distances.setdefault(candidate, []).append(float(np.sqrt((difference**2).mean())))
        passes = result.stats.nfe_target + result.stats.nfe_drafter
        return Sample(self._value(number, result) - baseline.value, seconds, passes)

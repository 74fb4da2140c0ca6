"""Decodes with their steps, for tests of what shows them."""

from typing import Any, NamedTuple

from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.result import Result
from mulo_sd.engines.service.steps import Step, StepRecorder

PROMPT = "a red circle left of a blue square"


class Recorded(NamedTuple):
    """A decode and its steps."""

    steps: list[Step]
    result: Result


def record(pipeline: Pipeline, **options: Any) -> Recorded:
    """Draw with seed 1, and keep every step."""
    recorder = StepRecorder()
    result = pipeline.generate(PROMPT, seed=1, watch=recorder.watch, step=recorder.step, **options)
    recorder.end()
    return Recorded(recorder.steps, result)

"""The page that replays a decode of the command: its steps are recorded where the page is asked for, and only there."""

from pathlib import Path
from typing import Any

from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.result import Result
from mulo_sd.engines.service.steps import StepRecorder
from mulo_sd.engines.viewer import chosen_steps, frames_of, viewer_html

MAX_FRAMES = 200
# More than frames, which are thinned evenly; at 9 bytes a cell.
MAX_STEPS = 2048


class Replay:
    """The steps of a decode, while it runs and after it."""

    def __init__(self, is_wanted: bool) -> None:
        """Prepare for a decode; nothing is recorded where the page is not wanted."""
        self._recorder = StepRecorder(MAX_STEPS) if is_wanted else None

    @property
    def hooks(self) -> dict[str, Any]:
        """What `Pipeline.generate` takes to record the steps."""
        recorder = self._recorder
        return {} if recorder is None else {"watch": recorder.watch, "step": recorder.step}

    def end(self) -> None:
        """Add the result as the last step."""
        if self._recorder is not None:
            self._recorder.end()

    def save(self, pipeline: Pipeline, prompt: str | None, seed: int, result: Result, path: Path) -> None:
        """Write the page; the decode has ended.

        Args:
            pipeline: Drew it, and draws its steps.
            prompt: None where a condition in numbers was drawn.
            seed: 0..2^64 - 1.
            result: Of the decode.
            path: Of the HTML file.
        """
        steps = [] if self._recorder is None else chosen_steps(self._recorder.steps, MAX_FRAMES)
        decode = {
            "prompt": prompt,
            "seed": seed,
            "mode": result.settings.mode,
            "bundle": pipeline.bundle.manifest.name,
            "size": f"{result.image.width} x {result.image.height}",
            "settings": result.settings.model_dump(),
            "stats": vars(result.stats),
            "frames": frames_of(steps, pipeline.image_from_tokens),
        }
        path.write_text(viewer_html(decode), encoding="utf-8")

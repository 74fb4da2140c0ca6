"""An engine of this process: a session over one bundle."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from PIL import Image

from mulo_sd.engines.ingress.engine import Card, Drawn, Load, Order
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.session import MAX_WAITING
from mulo_sd.engines.service.steps import Step, StepRecorder
from mulo_sd.engines.settings import Settings


class SessionEngine:
    """Draws in a session, which it owns."""

    def __init__(self, name: str, pipeline: Pipeline, size: int, workers: int = 1) -> None:
        """Open the session, and measure what passes take while nothing else runs (SWEEP-6).

        Args:
            name: What requests call the model.
            pipeline: Over its bundle.
            size: Images that are drawn at once, 1..256.
            workers: Threads that decode, 1..256 (`Session`).

        Raises:
            SettingsError: the size or the number of workers is out of its range.
            BackendError: no pass can be run.
        """
        self.pipeline, self.size = pipeline, size
        pipeline.auto_widths.measure_again()
        # The ingress bounds what waits: it knows which requests are the same.
        self.session = pipeline.session(size, MAX_WAITING, workers)
        self.card = card_of(name, pipeline)

    def settings(self, preset: str | None, changes: Mapping[str, object]) -> Settings:
        """Return settings, held against the bundle."""
        return self.pipeline.settings(preset, **changes)

    def check_prompt(self, prompt: str) -> None:
        """Check a prompt as far as that is cheap."""
        self.pipeline.check_prompt(prompt)

    async def draw(self, order: Order, changed: Callable[[tuple[Step, ...]], None]) -> Drawn:
        """Draw an image in the session."""
        recorder = StepRecorder(changed=lambda: changed(tuple(recorder.steps)))
        hooks: dict[str, Any] = {"watch": recorder.watch, "step": recorder.step}
        request = self.session.submit(order.prompt, order.seed, **hooks, **order.settings.model_dump())
        result = await request
        recorder.end()
        passes = result.trace.passes_by_model
        waited = request.waited_seconds or 0.0
        return Drawn(result.image, result.stats, passes, result.tokens, waited, tuple(recorder.steps))

    def image_of(self, tokens: Tokens) -> Image.Image:
        """Make an image of tokens."""
        return self.pipeline.image_from_tokens(tokens)

    def load(self) -> Load:
        """Return how busy the session is."""
        return Load(self.session.places_in_use, self.pipeline.backend.memory().get("caches"))

    def close(self) -> None:
        """End the session and all that it draws."""
        self.session.close(cancel=True)


def card_of(name: str, pipeline: Pipeline) -> Card:
    """Return what a pipeline's bundle draws."""
    manifest = pipeline.bundle.manifest
    target = manifest.target
    return Card(
        name=name,
        bundle=manifest.name,
        width=target.grid_width * manifest.token_pixels,
        height=target.grid_height * manifest.token_pixels,
        rows=target.grid_height,
        columns=target.grid_width,
        prefix_tokens=target.prefix_length,
        created=_seconds(manifest.created),
        presets=tuple(manifest.presets),
        example_prompts=pipeline.front_end.example_prompts,
    )


def _seconds(created: str) -> int:
    """Return a manifest's date in seconds since 1970; 0 where it is none."""
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0

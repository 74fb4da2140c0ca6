"""What the ingress asks of an engine: to draw an order, to show a step of it, and to say how busy it is.

The ingress admits requests, joins those that are the same, and speaks HTTP; an engine draws. So an engine may be a
session of this process (`session_engine`) or anything else that keeps this interface.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.service.result import Stats
from mulo_sd.engines.service.steps import Step
from mulo_sd.engines.settings import Settings


@dataclass(frozen=True)
class Order:
    """One image; the same order is the same image (CONF-5), so that it is a key, too.

    Attributes:
        model: Name of the engine.
        prompt: What to draw.
        seed: 0..2^64 - 1.
        settings: How to decode.
    """

    model: str
    prompt: str
    seed: int
    settings: Settings


@dataclass(frozen=True, eq=False)
class Drawn:
    """A drawn image.

    Attributes:
        image: RGB.
        stats: Figures of its decode.
        passes: By the model's name; prefills are passes.
        tokens: Int[H, W].
        waited_seconds: From the order to the beginning of its decode.
        steps: Of the decode; the last one is the result.
    """

    image: Image.Image
    stats: Stats
    passes: Mapping[str, int]
    tokens: Tokens
    waited_seconds: float
    steps: tuple[Step, ...]

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        steps = sum(step.tokens.nbytes + step.cells.nbytes for step in self.steps)
        return self.image.width * self.image.height * 3 + self.tokens.nbytes + steps


@dataclass(frozen=True)
class Card:
    """What an engine draws.

    Attributes:
        name: Of the model, as requests call it.
        bundle: What the bundle calls itself.
        width: Of its images, in pixels.
        height: Of its images, in pixels.
        rows: Of the target's grid.
        columns: Of the target's grid.
        prefix_tokens: Tokens that a prompt becomes.
        created: When the bundle was built, in seconds since 1970.
        presets: Of the bundle.
        example_prompts: Prompts that it understands.
    """

    name: str
    bundle: str
    width: int
    height: int
    rows: int
    columns: int
    prefix_tokens: int
    created: int
    presets: tuple[str, ...]
    example_prompts: tuple[str, ...]

    @property
    def size(self) -> str:
        """Of its images, as the API writes it."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Load:
    """How busy an engine is.

    Attributes:
        places: Images that it draws at once.
        kv_bytes: Of keys and values; None where nobody counts them.
    """

    places: int
    kv_bytes: int | None


class Engine(Protocol):
    """Draws orders."""

    card: Card

    def settings(self, preset: str | None, changes: Mapping[str, object]) -> Settings:
        """Return a preset's settings, or the bundle's, with some changed.

        Raises:
            SettingsError: as `Pipeline.settings`.
        """

    def check_prompt(self, prompt: str) -> None:
        """Check a prompt as far as that is cheap.

        Raises:
            PromptError: it is not understood.
        """

    async def draw(self, order: Order, changed: Callable[[tuple[Step, ...]], None]) -> Drawn:
        """Draw an image; who cancels the task frees its place before the next pass.

        Args:
            order: What to draw.
            changed: Called with the steps so far, from any thread, when there is a new one.

        Raises:
            Exception: as `Pipeline.draw`.
        """

    def image_of(self, tokens: Tokens) -> Image.Image:
        """Make an RGB image of tokens, Int[h, w], of any grid; called in a thread of its own."""

    def load(self) -> Load:
        """Return how busy it is."""

    def close(self) -> None:
        """Cancel what is drawn and give everything back."""

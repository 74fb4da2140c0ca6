"""The stages of one drawing, as a session calls them; `engines.Pipeline` has them."""

from typing import Protocol

from PIL import Image

from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.loop.decode import Decoded
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.prompts import Plan
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.engines.service.result import Prepared, Result
from mulo_sd.engines.settings import Mode, Settings


class Stages(Protocol):
    """Prepares, decodes and finishes drawings; several threads call it at once."""

    backend: Backend

    def prepare(
        self,
        prompt: str | Condition,
        seed: int = ...,
        mode: Mode | None = ...,
        plan: Plan | None = ...,
        **changes: object,
    ) -> Prepared:
        """Check the arguments against the bundle, and describe the prompt."""

    def decode(
        self,
        condition: Condition,
        settings: Settings,
        seed: int,
        draft: Tokens | None = ...,
        *,
        hooks: Hooks = ...,
        backend: Backend | None = ...,
    ) -> Decoded:
        """Decode a condition to tokens, on the pipeline's backend or on another of the same bundle."""

    def finish(self, prepared: Prepared, decoded: Decoded, started: float) -> Result:
        """Make the image."""

    def image_from_tokens(self, tokens: Tokens) -> Image.Image:
        """Make an image of tokens."""

"""An engine that draws when a test says so, on an event loop alone."""

import asyncio
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from mulo_sd.engines.ingress.engine import Card, Drawn, Load, Order
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.prompts import PromptError
from mulo_sd.engines.service.result import Stats
from mulo_sd.engines.service.steps import Cell, Step
from mulo_sd.engines.settings import Settings

CARD = Card(
    name="toy",
    bundle="a toy",
    width=8,
    height=8,
    rows=4,
    columns=4,
    prefix_tokens=2,
    created=0,
    presets=("passes",),
    example_prompts=("anything",),
)
STATS = Stats(
    nfe_target=4,
    nfe_drafter=2,
    cycles=1,
    acceptance_rate=0.5,
    resampled_rate=0.25,
    sweeps=0,
    widest_sweep=0,
    seconds=0.5,
)


def order(seed: int = 0, **settings: object) -> Order:
    """Return an order of the toy."""
    return Order("toy", "anything", seed, Settings().changed(**settings))


def step_at(number: int, decided: int, shown: int = 0, model: int = 0) -> Step:
    """Return a step of 4 x 4 cells: some decided, then some that hold drafts."""
    cells = np.full(16, Cell.EMPTY, dtype=np.uint8)
    cells[:shown] = Cell.DRAFT
    cells[:decided] = Cell.SAMPLED
    tokens = np.select([cells == Cell.SAMPLED, cells == Cell.DRAFT], [2, 1], -1).reshape(4, 4)
    return Step(number, {"target": number}, model, False, tokens, cells.reshape(4, 4))


class ToyEngine:
    """Draws orders one by one as `finish` or `fail` say, by their seed.

    Attributes:
        asked: Orders, as often as they were asked for.
        ended: Seeds whose task was cancelled.
    """

    def __init__(self) -> None:
        self.card, self.asked, self.ended = CARD, list[Order](), list[int]()
        self.changed: dict[int, Callable[[tuple[Step, ...]], None]] = {}
        self._ends: dict[int, asyncio.Future[None]] = {}

    def settings(self, preset: str | None, changes: Mapping[str, object]) -> Settings:
        """Return the library's settings, changed."""
        return Settings().changed(**changes)

    def check_prompt(self, prompt: str) -> None:
        """Refuse one prompt."""
        if prompt == "wrong":
            raise PromptError("prompt: expected another, got 'wrong'")

    async def draw(self, order: Order, changed: Callable[[tuple[Step, ...]], None]) -> Drawn:
        """Wait for the test's word."""
        self.asked.append(order)
        self.changed[order.seed] = changed
        end = self._ends[order.seed] = asyncio.get_running_loop().create_future()
        try:
            await end
        except asyncio.CancelledError:
            self.ended.append(order.seed)
            raise
        steps = (step_at(1, 0, 16), step_at(2, 16))
        return Drawn(Image.new("RGB", (8, 8)), STATS, {"target": 4}, np.ones((4, 4), dtype=np.int64), 0.125, steps)

    def finish(self, seed: int) -> None:
        """Let an order be drawn."""
        self._ends[seed].set_result(None)

    def fail(self, seed: int, error: Exception) -> None:
        """Let an order end with an error."""
        self._ends[seed].set_exception(error)

    def image_of(self, tokens: Tokens) -> Image.Image:
        """Return a black image."""
        return Image.new("RGB", (tokens.shape[1] * 2, tokens.shape[0] * 2))

    def load(self) -> Load:
        """Say that one place is in use."""
        return Load(1, 1024)

    def close(self) -> None:
        """Have nothing to close."""

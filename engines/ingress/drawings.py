"""Orders on their way: admitted up to a number, joined where they are the same, ended when nobody waits for them."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mulo_sd.engines.ingress.bounded_store import BoundedStore
from mulo_sd.engines.ingress.engine import Drawn, Engine, Order
from mulo_sd.engines.ingress.errors import not_ready, queue_full
from mulo_sd.engines.service.steps import Step

# Before anything was drawn; then what images took.
FIRST_GUESS_SECONDS = 1.0
MAX_RETRY_SECONDS = 60


# An order is drawn anew, joins one like it, or is cancelled.
Outcome = Literal["drawn", "joined", "cancelled"]


class Counts(Protocol):
    """Is told of orders."""

    def ordered(self, model: str, outcome: Outcome, count: int) -> None:
        """Count some orders of a model."""

    def drawn(self, model: str, drawn: Drawn) -> None:
        """Count an image."""


@dataclass(eq=False)
class Drawing:
    """One order that is drawn, or was; whoever asks for the same holds the same.

    Attributes:
        order: What is drawn.
        waiting: Requests that wait for it.
        steps: Of its decode, up to now.
        is_complete: Whether there are all that there will be.
        task: Draws it.
        news: Set when there is a step more, or the end; then another one stands in its place.
    """

    order: Order
    waiting: int = 0
    steps: tuple[Step, ...] = ()
    is_complete: bool = False
    task: "asyncio.Task[Drawn]" = field(init=False)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def result(self) -> Drawn:
        """Wait for the image; who is cancelled while waiting ends nothing.

        Raises:
            ApiError: 503, where the service stops.
            Exception: as `Engine.draw`.
        """
        await asyncio.wait({self.task})
        if self.task.cancelled():
            raise not_ready("draining")
        return self.task.result()

    async def new_steps(self) -> AsyncIterator[tuple[Step, ...]]:
        """Go through the steps as they come: each time all of them that are new; ends with the decode."""
        last = 0
        while True:
            news, complete = self.news, self.is_complete
            fresh = tuple(step for step in self.steps if step.number > last)
            if fresh:
                last = fresh[-1].number
                yield fresh
            elif complete:
                return
            else:
                await news.wait()

    def _tell(self, steps: tuple[Step, ...] | None = None) -> None:
        """Take steps, and wake who waits; in the event loop."""
        self.steps = self.steps if steps is None else steps
        news, self.news = self.news, asyncio.Event()
        news.set()


class Drawings:
    """All orders of a service; used in its event loop alone."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        places: int,
        queue: int,
        finished: BoundedStore[Order, Drawing],
        metrics: Counts,
    ) -> None:
        """Begin with none.

        Args:
            engines: By the model's name.
            places: Images that each draws at once.
            queue: Images that may wait beyond those, of each.
            finished: Keeps what was drawn a while for those that ask again.
            metrics: Told of what is drawn.
        """
        self.engines, self.places, self.queue, self.metrics = engines, places, queue, metrics
        self.finished = finished
        self.going: dict[Order, Drawing] = {}
        self._seconds: dict[str, float] = {}  # of an image, lately

    @asynccontextmanager
    async def joined(self, orders: Sequence[Order]) -> AsyncIterator[list[Drawing]]:
        """Ask for some images, all or none; who leaves the block waits for them no longer.

        Args:
            orders: Of one model.

        Raises:
            ApiError: 429, where they do not fit into the queue.
        """
        new = [order for order in dict.fromkeys(orders) if self._known(order) is None]
        if new:
            self._check_room(new[0].model, len(new))
        drawings = [self._known(order) or self._begin(order) for order in orders]
        self.metrics.ordered(orders[0].model, "joined", len(orders) - len(new))
        self.metrics.ordered(orders[0].model, "drawn", len(new))
        for drawing in drawings:
            drawing.waiting += 1
        try:
            yield drawings
        finally:
            for drawing in drawings:
                drawing.waiting -= 1
            self._end_unwanted(drawings)

    def stop(self) -> None:
        """End all that are drawn; who waits for one is told."""
        for drawing in list(self.going.values()):
            drawing.task.cancel()

    def _known(self, order: Order) -> Drawing | None:
        return self.going.get(order) or self.finished.get(order)

    def _check_room(self, name: str, count: int) -> None:
        mine = sum(order.model == name for order in self.going)
        if mine + count > self.places + self.queue:
            waiting = max(0, mine - self.places)
            seconds = self._seconds.get(name, FIRST_GUESS_SECONDS) * max(1, mine + count - self.places) / self.places
            raise queue_full(name, waiting, min(MAX_RETRY_SECONDS, max(1, math.ceil(seconds))))

    def _begin(self, order: Order) -> Drawing:
        drawing, loop = Drawing(order), asyncio.get_running_loop()

        def changed(steps: tuple[Step, ...]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody looks any more
                loop.call_soon_threadsafe(drawing._tell, steps)

        drawing.task = loop.create_task(self.engines[order.model].draw(order, changed))
        drawing.task.add_done_callback(lambda task: self._ended(drawing, task))
        self.going[order] = drawing
        return drawing

    def _ended(self, drawing: Drawing, task: "asyncio.Task[Drawn]") -> None:
        """Keep an image for those that ask again; an error is nobody's but theirs that wait for it."""
        order = drawing.order
        if self.going.get(order) is drawing:
            del self.going[order]
        if not task.cancelled() and task.exception() is None:
            drawn = task.result()
            drawing.steps = drawn.steps
            before = self._seconds.get(order.model, drawn.stats.seconds)
            self._seconds[order.model] = before + (drawn.stats.seconds - before) / 4
            self.finished.put(order, drawing, drawn.size_bytes)
            self.metrics.drawn(order.model, drawn)
        drawing.is_complete = True
        drawing._tell()

    def _end_unwanted(self, drawings: Iterable[Drawing]) -> None:
        for drawing in drawings:
            if drawing.waiting == 0 and not drawing.task.done():
                # At once: who asks for the same from now on must not join what ends.
                self.going.pop(drawing.order, None)
                drawing.task.cancel()
                self.metrics.ordered(drawing.order.model, "cancelled", 1)

"""An engine replica: a process that holds sessions over bundles, and draws for the ingresses."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from PIL import Image
from ray import serve

from mulo_sd.engines.cluster.messages import Ended, Offer, OtherModelsError, Progress
from mulo_sd.engines.cluster.options import ClusterOptions
from mulo_sd.engines.commands.image_record import models_hash
from mulo_sd.engines.conditions import FrontEnd
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.ingress.engine import Order
from mulo_sd.engines.ingress.session_engine import SessionEngine
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.steps import Step

# Between two messages of a decode: each costs the ingress about as much as a pass of the demo.
MESSAGE_SECONDS = 0.05
# Families whose prompts are checked without a model; what checks the others cannot travel.
CHECKED_ANYWHERE = ("fields", "class")


class Held:
    """A bundle that a replica holds; who draws with it keeps it from being closed."""

    def __init__(self, name: str, folder: str, options: ClusterOptions) -> None:
        """Load it.

        Raises:
            Exception: as `load`.
        """
        pipeline = load(expanded(folder), options.backend, options.threads_each, options.text_model)
        self.engine = SessionEngine(name, pipeline, options.size, options.workers)
        self.models = models_hash(pipeline.bundle.manifest)
        self._users, self._idle = 0, threading.Condition()

    @property
    def offer(self) -> Offer:
        """What ingresses have to know of it."""
        manifest, front_end = self.engine.pipeline.bundle.manifest, self.engine.pipeline.front_end
        return Offer(self.engine.card, manifest, self.models, _check(front_end, manifest.target.condition))

    @contextmanager
    def in_use(self) -> Iterator[SessionEngine]:
        """Draw with it."""
        with self._idle:
            self._users += 1
        try:
            yield self.engine
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    def __del__(self) -> None:
        """Close it when nobody draws with it; Ray Serve calls this in a thread when another bundle takes its place."""
        with suppress(AttributeError):  # it was not loaded
            with self._idle:
                self._idle.wait_for(lambda: self._users == 0)
            self.engine.close()


def _check(front_end: FrontEnd, kind: str) -> Callable[[str], None] | None:
    return front_end.check if kind in CHECKED_ANYWHERE else None


def replica_class(options: ClusterOptions) -> type:
    """Return the class of an engine deployment; Ray Serve wants to know while it is made how many bundles it holds."""

    class Replica:
        """Holds bundles, the ones that were used last, each with a session."""

        async def __init__(self, options: ClusterOptions) -> None:  # type: ignore[misc]  # Ray Serve awaits it
            """Load as many bundles as there is room for: the others are loaded when somebody asks for them."""
            self.options = options
            for name in list(options.bundles)[: options.bundles_each]:
                await self.held(name)

        @serve.multiplexed(max_num_models_per_replica=options.bundles_each)  # type: ignore[untyped-decorator]
        async def held(self, name: str) -> Held:
            """Return a bundle, loaded if need be.

            Raises:
                OtherModelsError: none of that name is to be held here.
            """
            if name not in self.options.bundles:
                raise OtherModelsError(f"{name}: expected one of {', '.join(self.options.bundles)}")
            return await asyncio.to_thread(Held, name, self.options.bundles[name], self.options)

        async def offer(self, name: str) -> Offer:
            """Return what a bundle draws."""
            held: Held = await self.held(name)
            return held.offer

        async def image_of(self, name: str, tokens: Tokens) -> Image.Image:
            """Return an image of tokens, Int[h, w]."""
            held: Held = await self.held(name)
            with held.in_use() as engine:
                return await asyncio.to_thread(engine.image_of, tokens)

        async def draw(self, order: Order, models: str) -> AsyncGenerator[Progress | Ended]:
            """Draw an image; who closes the generator, or cancels it, frees its place before the next pass.

            Args:
                order: What to draw.
                models: Hash of the models that the ingress knows.

            Raises:
                OtherModelsError: they are others here.
                Exception: as `Pipeline.draw`.
            """
            held: Held = await self.held(order.model)
            if held.models != models:
                raise OtherModelsError(f"{order.model}: expected models {models:.16}, got {held.models:.16}")
            with held.in_use() as engine:
                async for message in _messages(engine, order):
                    yield message

    return Replica


async def _messages(engine: SessionEngine, order: Order) -> AsyncGenerator[Progress | Ended]:
    """Draw, and yield new steps a few times a second, then the image."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    steps: tuple[Step, ...] = ()

    def changed(current: tuple[Step, ...]) -> None:
        nonlocal steps
        steps = current
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(news.set)

    task = loop.create_task(engine.draw(order, changed))
    task.add_done_callback(lambda _: news.set())
    last = 0
    try:
        while not task.done():
            await news.wait()
            news.clear()
            fresh = tuple(step for step in steps if step.number > last)
            if fresh:
                last = fresh[-1].number
                yield Progress(fresh)
                await asyncio.wait({task}, timeout=MESSAGE_SECONDS)
        drawn = task.result()
        fresh = tuple(step for step in drawn.steps if step.number > last)
        if fresh:
            yield Progress(fresh)
        yield Ended(replace(drawn, steps=()), tuple(step.number for step in drawn.steps))
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

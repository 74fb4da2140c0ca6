"""Orders: the same ones are drawn once, too many are refused, and nobody's are ended."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.http.metrics import Metrics
from mulo_sd.engines.ingress.bounded_store import BoundedStore
from mulo_sd.engines.ingress.drawings import Drawings
from mulo_sd.engines.ingress.engine import Drawn
from mulo_sd.engines.ingress.errors import ApiError
from tests.engines.http.toy_engine import ToyEngine, order, step_at

Test = Callable[[ToyEngine, Drawings], Awaitable[None]]


def on_a_loop(test: Test, places: int = 1, queue: int = 1, kept_bytes: int = 2**20) -> None:
    """Run a test with an engine and its drawings."""

    async def run() -> None:
        engine = ToyEngine()
        store = BoundedStore(kept_bytes, 60)  # type: ignore[var-annotated]  # as `Drawings` takes it
        await test(engine, Drawings({"toy": engine}, places, queue, store, Metrics()))

    asyncio.run(asyncio.wait_for(run(), 10))


async def asked(drawings: Drawings, seed: int) -> Drawn:
    async with drawings.joined([order(seed)]) as [drawing]:
        return await drawing.result()


async def turns() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_asks_for_the_same_gets_the_same() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        both = [asyncio.create_task(asked(drawings, 1)) for _ in range(2)]
        await turns()
        engine.finish(1)
        first, second = await asyncio.gather(*both)
        assert first is second
        assert await asked(drawings, 1) is first  # just finished
        assert len(engine.asked) == 1

    on_a_loop(test)


def test_one_who_goes_away_ends_nothing_for_the_other() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        gone, stays = (asyncio.create_task(asked(drawings, 1)) for _ in range(2))
        await turns()
        gone.cancel()
        await turns()
        assert engine.ended == []
        engine.finish(1)
        assert (await stays).passes == {"target": 4}

    on_a_loop(test)


def test_the_last_who_goes_away_ends_it_at_once() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        tasks = [asyncio.create_task(asked(drawings, 1)) for _ in range(2)]
        await turns()
        for task in tasks:
            task.cancel()
        await turns()
        assert engine.ended == [1]
        assert drawings.going == {}
        again = asyncio.create_task(asked(drawings, 1))  # it joins nothing that ends
        await turns()
        engine.finish(1)
        await again
        assert len(engine.asked) == 2

    on_a_loop(test)


def test_a_full_queue_refuses_all_or_none() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        first = asyncio.create_task(asked(drawings, 1))
        await turns()
        with pytest.raises(ApiError) as refused:
            async with drawings.joined([order(2), order(3)]):
                pass
        assert refused.value.status == 429
        assert refused.value.headers == {"retry-after": "2"}
        assert len(engine.asked) == 1
        second = asyncio.create_task(asked(drawings, 2))
        same = asyncio.create_task(asked(drawings, 1))  # takes no room
        await turns()
        for seed in (1, 2):
            engine.finish(seed)
        await asyncio.gather(first, second, same)
        assert [item.seed for item in engine.asked] == [1, 2]

    on_a_loop(test)


def test_one_request_may_name_an_image_twice() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        async with drawings.joined([order(1), order(1)]) as [first, second]:
            await turns()
            engine.finish(1)
            assert await first.result() is await second.result()
        assert len(engine.asked) == 1

    on_a_loop(test)


def test_an_error_is_told_and_forgotten() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        tasks = [asyncio.create_task(asked(drawings, 1)) for _ in range(2)]
        await turns()
        engine.fail(1, BackendError("graph target: it failed"))
        for task in tasks:
            with pytest.raises(BackendError):
                await task
        again = asyncio.create_task(asked(drawings, 1))
        await turns()
        engine.finish(1)
        await again
        assert len(engine.asked) == 2

    on_a_loop(test)


def test_nothing_is_kept_where_there_is_no_room() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        for count in (1, 2):
            task = asyncio.create_task(asked(drawings, 1))
            await turns()
            engine.finish(1)
            await task
            assert len(engine.asked) == count

    on_a_loop(test, kept_bytes=0)


def test_stopping_tells_those_that_wait() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        task = asyncio.create_task(asked(drawings, 1))
        await turns()
        drawings.stop()
        with pytest.raises(ApiError) as refused:
            await task
        assert (refused.value.status, refused.value.code) == (503, "service_draining")

    on_a_loop(test)


def test_steps_come_as_they_are_made_and_to_who_comes_later() -> None:
    async def test(engine: ToyEngine, drawings: Drawings) -> None:
        async def numbers() -> list[list[int]]:
            async with drawings.joined([order(1)]) as [drawing]:
                return [[step.number for step in steps] async for steps in drawing.new_steps()]

        early = asyncio.create_task(numbers())
        await turns()
        engine.changed[1]((step_at(1, 0),))
        await turns()
        engine.changed[1]((step_at(1, 0), step_at(2, 4), step_at(3, 8)))
        await turns()
        late = asyncio.create_task(numbers())
        await turns()
        engine.changed[1](tuple(step_at(number, number) for number in (1, 3, 4)))  # thinned meanwhile
        await turns()
        engine.finish(1)
        assert await early == [[1], [2, 3], [4]]
        assert await late == [[1, 2, 3], [4]]
        assert await numbers() == [[1, 2]]  # of the image as it was kept

    on_a_loop(test)

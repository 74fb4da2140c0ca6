"""A deadline ends what is waited for, and nothing else."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from mulo_sd.engines.ingress.deadline import each_within, within
from mulo_sd.engines.ingress.errors import ApiError


async def numbers(seconds: float, ended: list[int]) -> AsyncGenerator[int]:
    """Return one number after another, and note at the end how many there were."""
    number = 0
    try:
        while True:
            await asyncio.sleep(seconds)
            number += 1
            yield number
    finally:
        ended.append(number)


def test_a_block_that_takes_too_long() -> None:
    async def run() -> None:
        async with within(0.01):
            await asyncio.sleep(5)

    with pytest.raises(ApiError, match=r"deadline: expected the images within 0\.01 s") as caught:
        asyncio.run(run())
    assert (caught.value.status, caught.value.code) == (504, "deadline_exceeded")


def test_a_time_limit_of_something_else_is_not_the_deadline() -> None:
    async def run() -> None:
        async with within(5):
            raise TimeoutError("a replica")

    with pytest.raises(TimeoutError, match="a replica"):
        asyncio.run(run())


def test_values_that_come_in_time() -> None:
    async def run() -> list[int]:
        ended = list[int]()
        values = each_within(5, numbers(0, ended))
        taken = [await anext(values) for _ in range(3)]
        await values.aclose()
        return [*taken, *ended]

    assert asyncio.run(run()) == [1, 2, 3, 3]


@pytest.mark.parametrize(("make", "take"), [(5, 0), (0.01, 0.02), (0, 0.02)], ids=["source", "both", "taker"])
def test_a_deadline_is_told_to_who_asks_for_the_next_value(make: float, take: float) -> None:
    """And never cancels a taker that is busy with the last one."""

    async def run() -> None:
        async for _ in each_within(0.05, numbers(make, ended)):
            await asyncio.sleep(take)

    ended = list[int]()
    with pytest.raises(ApiError, match=r"within 0\.05 s"):
        asyncio.run(asyncio.wait_for(run(), 5))
    assert len(ended) == 1
    assert ended[0] <= 4

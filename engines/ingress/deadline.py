"""The time in which a request has its answer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from mulo_sd.engines.ingress.errors import deadline_passed

Value = TypeVar("Value")


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """End the block where it takes too long; any other `TimeoutError` in it stays what it is.

    Raises:
        ApiError: 504.
    """
    async with _until(asyncio.get_running_loop().time() + seconds, seconds):
        yield


async def each_within(seconds: float, values: AsyncGenerator[Value]) -> AsyncGenerator[Value]:
    """Go through values that must all come in time, which is counted from the first that is asked for.

    Each is waited for in a block of its own: what ends a block cancels the task that entered it, which may be busy with
    a value, outside the generator.

    Raises:
        ApiError: 504.
    """
    end = asyncio.get_running_loop().time() + seconds
    try:
        while True:
            async with _until(end, seconds):
                try:
                    value = await anext(values)
                except StopAsyncIteration:
                    return
            yield value
    finally:
        await values.aclose()


@asynccontextmanager
async def _until(end: float, seconds: float) -> AsyncIterator[None]:
    if asyncio.get_running_loop().time() >= end:
        raise deadline_passed(seconds)
    try:
        async with asyncio.timeout_at(end) as limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise deadline_passed(seconds) from None
        raise

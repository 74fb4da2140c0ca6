"""Work that goes on only while somebody wants it."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from mulo_sd.engines.ingress.errors import ClientGoneError

Value = TypeVar("Value")


async def while_wanted(gone: Coroutine[Any, Any, None], work: Coroutine[Any, Any, Value]) -> Value:
    """Do work for a client, and stop where it goes away.

    Args:
        gone: Ends when the client has gone.
        work: For it.

    Raises:
        ClientGoneError: it did.
        Exception: as the work.
    """
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_all(tasks)
    if tasks[0].cancelled():
        raise ClientGoneError
    return tasks[0].result()


async def end_all(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel what goes on, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""What a caller of a session sees: a bounded queue, requests that can be awaited, and what they show of themselves."""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.request import Request
from mulo_sd.engines.service.session import QueueFullError, Session
from mulo_sd.engines.settings import SettingsError
from tests.engines.service.toy_session import LIMIT, Gate, Stopping


@pytest.fixture
def one(pipelines: Mapping[str, Pipeline]) -> Pipeline:
    return pipelines["few"]


def same(request: Request, pipeline: Pipeline, condition: Condition, seed: int) -> None:
    np.testing.assert_array_equal(request.result(LIMIT).tokens, pipeline.draw(condition, seed, "ar").tokens)


def test_the_queue_is_bounded(one: Pipeline, condition: Condition) -> None:
    gate = Gate()
    with one.session(1, queue=2) as session:
        first = session.submit(condition, 0, "ar", progress=gate.progress)
        waiting = [session.submit(condition, seed, "ar") for seed in (1, 2)]
        with pytest.raises(QueueFullError) as caught:
            session.submit(condition, 3, "ar")
        assert str(caught.value) == (
            "queue: expected fewer requests that have not ended, got 3 (1 at once and 2 that wait); wait for one of "
            "them, or open a session with a larger queue"
        )
        waiting[1].cancel()
        last = session.submit(condition, 4, "ar")
        gate.opened.set()
        first.result(LIMIT)
        again = session.submit(condition, 5, "ar")  # at once: a request that has ended takes no room
        for request, seed in ((waiting[0], 1), (last, 4), (again, 5)):
            same(request, one, condition, seed)


def places_in_use(session: Session) -> int:
    """Ask again: a type checker takes a property for what it was."""
    return session.places_in_use


def test_who_looks_on_sees_the_places_and_the_wait(one: Pipeline, condition: Condition) -> None:
    gate = Gate()
    with one.session(1) as session:
        assert places_in_use(session) == 0
        first = session.submit(condition, 0, "ar", progress=gate.progress)
        second = session.submit(condition, 1, "ar")
        assert gate.reached.wait(LIMIT)
        assert places_in_use(session) == 1
        waited = second.waited_seconds
        assert waited is None
        gate.opened.set()
        first.result(LIMIT)
        second.result(LIMIT)
        assert first.waited_seconds is not None
        assert second.waited_seconds is not None
        assert 0 <= first.waited_seconds < second.waited_seconds
    assert places_in_use(session) == 0


def test_a_queue_of_none_takes_as_many_as_there_are_places(one: Pipeline, condition: Condition) -> None:
    gate = Gate()
    with one.session(2, queue=0) as session:
        requests = [session.submit(condition, seed, "ar", progress=gate.progress) for seed in range(2)]
        with pytest.raises(QueueFullError):
            session.submit(condition, 3, "ar")
        gate.opened.set()
        for request in requests:
            request.result(LIMIT)


@pytest.mark.parametrize("queue", [-1, 2**20 + 1, 1.0, "3", True])
def test_wrong_queue(one: Pipeline, queue: Any) -> None:
    with pytest.raises(SettingsError, match=r"queue: expected a whole number in 0\.\.1048576, got"):
        one.session(1, queue)


def test_more_prompts_than_a_queue_takes_by_itself(one: Pipeline, condition: Condition) -> None:
    """`generate` asks for all of them at once."""
    found = one.generate([condition] * 20, list(range(20)), "ar", batch=1)
    np.testing.assert_array_equal(found[19].tokens, one.draw(condition, 19, "ar").tokens)


def test_requests_can_be_awaited_in_several_loops(one: Pipeline, condition: Condition) -> None:
    async def both(requests: list[Request]) -> list[Any]:
        return await asyncio.gather(*requests, return_exceptions=True)

    found: list[list[Any]] = []
    with one.session(2) as session:
        requests = [session.submit(condition, 1, "ar"), session.submit(condition, 2, "ar", top_p=7.0)]
        loops = [threading.Thread(target=lambda: found.append(asyncio.run(both(requests)))) for _ in range(2)]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join(LIMIT)
        again = asyncio.run(both(requests))  # after they have ended
    assert len(found) == 2
    for image, error in (*found, again):
        np.testing.assert_array_equal(image.tokens, one.draw(condition, 1, "ar").tokens)
        assert isinstance(error, SettingsError)


def test_a_task_that_is_cancelled_cancels_its_request(one: Pipeline, condition: Condition) -> None:
    """But not one that is shielded; and a request that is cancelled ends the task that waits for it."""

    async def wait(session: Session, gate: Gate) -> list[Request]:
        requests = [session.submit(condition, seed, "ar", progress=gate.progress) for seed in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(requests[0], 0.02)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(requests[1]), 0.02)
        requests[2].cancel()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await requests[2]
        await requests[1]
        return requests

    with one.session(3) as session:
        requests = asyncio.run(wait(session, Gate()))
        with pytest.raises(CancelledError):
            requests[0].result(LIMIT)
        same(requests[1], one, condition, 1)


def test_what_a_request_shows_of_itself(one: Pipeline, condition: Condition) -> None:
    gate = Gate()
    with Stopping(one, condition, gate).session(1) as session:
        request = session.submit("a fox\nin the snow " * 20, 7, "ar")
        assert gate.reached.wait(LIMIT)
        assert repr(request) == (
            "<Request 0: 'a fox\\nin the snow a fox\\nin the snow a fo', seed 7, finishing, 16 of 16 cells>"
        )
        gate.opened.set()
        request.result(LIMIT)
        assert request._decoder is None, "keys and values are not kept"
        assert request.progress == (16, 16)
        assert repr(session.submit(condition, 8)).startswith("<Request 1: a condition, seed 8, ")

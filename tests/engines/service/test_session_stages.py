"""A request is described, waits, is decoded, and its image is made: in no stage does it hold up another."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Tensors
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.prompts import PromptError
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.request import DeadlineError, Request
from mulo_sd.engines.service.session import Session
from mulo_sd.engines.settings import SettingsError
from mulo_sd.reference.models import Models
from tests.engines.service.toy_session import LIMIT, Gate, Stopping

STAGES = ("queued", "describing", "decoding", "finishing")


@pytest.fixture
def one(pipelines: Mapping[str, Pipeline]) -> Pipeline:
    return pipelines["few"]


def same(request: Request, pipeline: Pipeline, condition: Condition, seed: int) -> None:
    np.testing.assert_array_equal(request.result(LIMIT).tokens, pipeline.draw(condition, seed, "ar").tokens)


@pytest.mark.parametrize("size", [1, 3])
def test_a_prompt_that_is_being_described_holds_up_nobody(pipeline: Pipeline, condition: Condition, size: int) -> None:
    """Others join, are decoded and end meanwhile, also where there is one place."""
    gate = Gate()
    with Stopping(pipeline, condition, slow=gate).session(size) as session:
        slow = session.submit("slow", 1, "ar")
        assert gate.reached.wait(LIMIT)
        for request in [session.submit(condition, seed, "ar") for seed in (2, 3, 4)]:
            same(request, pipeline, condition, request.number + 1)
        assert (slow.state, slow.progress) == ("describing", (0, 0))
        gate.opened.set()
        same(slow, pipeline, condition, 1)
        assert (slow.state, slow.progress) == ("done", (16, 16))


@pytest.mark.parametrize("size", [1, 3])
def test_an_image_that_is_being_made_holds_up_nobody(pipeline: Pipeline, condition: Condition, size: int) -> None:
    gate = Gate()
    with Stopping(pipeline, condition, gate).session(size) as session:
        slow = session.submit("a prompt", 1, "ar")
        assert gate.reached.wait(LIMIT)
        for request in [session.submit("another", seed, "ar") for seed in (2, 3)]:
            same(request, pipeline, condition, request.number + 1)
        assert (slow.state, slow.progress) == ("finishing", (16, 16))
        gate.opened.set()
        same(slow, pipeline, condition, 1)


def test_images_that_are_being_made_are_as_many_as_places(one: Pipeline, condition: Condition) -> None:
    """What is decoded faster than images are made waits as requests, not as threads."""
    first, second = Gate(), Gate()
    with Stopping(one, condition, first, second).session(1) as session:
        requests = [session.submit(condition, seed, "ar") for seed in range(4)]
        assert first.reached.wait(LIMIT)
        assert second.reached.wait(LIMIT)
        assert [request.state for request in requests] == ["finishing", "finishing", "queued", "queued"]
        first.opened.set()
        second.opened.set()
        for request in requests:
            same(request, one, condition, request.number)


class _Slow(TorchBackend):
    """Stops at a gate in a graph between grids, or where a drafter's memory is made."""

    def __init__(self, models: Models, where: str, gate: Gate) -> None:
        super().__init__(models, torch.float32, "cpu")
        self.where, self.gate = where, gate

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if graph.startswith(self.where):
            self.gate.stop()
        return super().run(graph, inputs)

    def new_pool(self, graph: str, rows: int) -> Any:
        if graph == self.where:
            self.gate.stop()
        return super().new_pool(graph, rows)


@pytest.mark.parametrize("where", ["up_sampler", "drafter_1", "drafter_1_condition"])
@pytest.mark.parametrize("few", [False, True])
def test_a_long_graph_and_a_model_that_is_loaded_hold_up_nobody(
    models: Models, one: Pipeline, condition: Condition, where: str, few: bool
) -> None:
    """They are in the middle of a decode that shares passes, and where there are turns, has one."""
    gate = Gate()
    backend = _Slow(models, where, gate)
    if few:
        backend.traits = replace(backend.traits, max_shared_tokens=4)
    pipeline = Pipeline(one.bundle, backend)
    with pipeline.session(3) as session:
        begun = session.submit(condition, 3, "ar")
        slow = session.submit(condition, 1, "parallel", tau=0.1)
        assert gate.reached.wait(LIMIT)
        same(begun, one, condition, 3)
        same(session.submit(condition, 2, "ar"), one, condition, 2)
        assert slow.state == "decoding"
        gate.opened.set()
        expected = one.draw(condition, 1, "parallel", tau=0.1)
        np.testing.assert_array_equal(slow.result(LIMIT).tokens, expected.tokens)


def test_whoever_asked_first_gets_the_next_place(one: Pipeline, condition: Condition) -> None:
    """A prompt that took long to describe is not put behind those that came after it."""
    held, slow, order = Gate(), Gate(), list[int]()
    with Stopping(one, condition, slow=slow).session(1) as session:
        first = session.submit(condition, 0, "ar", progress=held.progress)
        assert held.reached.wait(LIMIT)
        prompts: list[str | Condition] = ["slow", condition, condition, condition]
        requests = [
            session.submit(prompt, 1, "ar", watch=lambda _, number=number: order.append(number))
            for number, prompt in enumerate(prompts)
        ]
        assert slow.reached.wait(LIMIT)
        slow.opened.set()
        while requests[0].state == "describing":
            assert not held.opened.wait(0.002)
        assert [request.state for request in requests] == ["queued"] * 4
        held.opened.set()
        for request in (first, *requests):
            request.result(LIMIT)
    assert order == [0, 1, 2, 3]


def test_prompts_are_described_no_further_ahead_than_there_are_places(one: Pipeline, condition: Condition) -> None:
    """A long queue holds few conditions."""
    held = Gate()
    stopping = Stopping(one, condition)
    with stopping.session(2, queue=10) as session:
        first = [session.submit("first", seed, "ar", progress=held.progress) for seed in range(2)]
        for request in first:
            while request.state != "decoding":
                assert held.reached.wait(LIMIT)
        rest = [session.submit(str(number), 1, "ar") for number in range(6)]
        while sum(request._prepared is not None for request in rest) < 2:
            assert not held.opened.wait(0.002)
        assert stopping.front_end.described == ["first"] * 2 + ["0", "1"]  # type: ignore[attr-defined]  # a FrontEnd
        assert len([thread for thread in threading.enumerate() if thread.name.startswith("mulo-sd")]) <= 3 * 2
        held.opened.set()
    assert all(request.exception() is None for request in (*first, *rest))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mulo-sd")]


def stopped_in(stage: str, pipeline: Pipeline, condition: Condition, **given: Any) -> tuple[Session, Request, Gate]:
    """Return a session of one place, a request that stands in a stage, and the gate that it, or its place, is at."""
    gate = Gate()
    images = [gate] if stage == "finishing" else []
    session = Stopping(pipeline, condition, *images, slow=gate).session(1)
    if stage == "queued":
        session.submit(condition, 1, "ar", progress=gate.progress)
        assert gate.reached.wait(LIMIT)
    given |= {"progress": gate.progress} if stage == "decoding" else {}
    request = session.submit("slow" if stage == "describing" else condition, 2, "ar", **given)
    assert gate.reached.wait(LIMIT)
    assert request.state == stage
    return session, request, gate


@pytest.mark.parametrize("stage", STAGES)
def test_cancelled_in_every_stage(one: Pipeline, condition: Condition, stage: str) -> None:
    """One that waits ends at once; the place is free for the next."""
    session, request, gate = stopped_in(stage, one, condition)
    request.cancel()
    assert request.done == (stage == "queued")
    gate.opened.set()
    with pytest.raises(CancelledError):
        request.result(LIMIT)
    assert request.state == "cancelled"
    same(session.submit(condition, 5, "ar"), one, condition, 5)
    session.close()


@pytest.mark.parametrize("stage", STAGES)
def test_out_of_time_in_every_stage(one: Pipeline, condition: Condition, stage: str) -> None:
    """One that waits ends when its time is over, whatever becomes of the others."""
    session, request, gate = stopped_in(stage, one, condition, deadline=0.3 if stage == "queued" else 1000)
    if stage == "queued":
        with pytest.raises(DeadlineError, match=r"deadline: expected the image within 0\.3 s"):
            request.result(LIMIT)
    request._ends_at = time.monotonic()
    gate.opened.set()
    with pytest.raises(DeadlineError):
        request.result(LIMIT)
    same(session.submit(condition, 5, "ar"), one, condition, 5)
    session.close()


def _interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def _leave(done: int, total: int) -> None:
    raise SystemExit(3)


def test_whatever_a_callback_raises_is_its_request_s(pipeline: Pipeline, condition: Condition) -> None:
    with pipeline.session(4) as session:
        broken = [session.submit(condition, 1, "ar", progress=call) for call in (_interrupt, _leave)]
        whole = session.submit(condition, 2, "ar")
        assert [type(request.exception(LIMIT)) for request in broken] == [KeyboardInterrupt, SystemExit]
        same(whole, pipeline, condition, 2)


@pytest.mark.parametrize("method", ["run", "new_cache", "feed", "score", "keep_slots", "new_pool"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_a_backend_raises_is_its_request_s(
    pipelines: Mapping[str, Pipeline], condition: Condition, method: str, error: type[BaseException]
) -> None:
    """The first call fails, and with it one request; nobody waits for it for ever."""
    for name in ("pools", "no pools"):
        whole = pipelines[name]
        traits = whole.backend.traits
        if (method == "score" and not traits.scores) or (method == "new_pool" and not traits.pools):
            continue
        left = [error("once")]
        right = getattr(whole.backend, method)

        def fail_once(*given: Any, left: list[BaseException] = left, right: Any = right) -> Any:
            if left:
                raise left.pop()
            return right(*given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(whole.backend, method, fail_once)
            with whole.session(3) as session:
                requests = [session.submit(condition, seed, "ar") for seed in range(5)]
                errors = [request.exception(LIMIT) for request in requests]
        assert sum(caught is not None for caught in errors) <= 1
        assert all(isinstance(caught, error) for caught in errors if caught is not None)
        for request, caught in zip(requests, errors, strict=True):
            if caught is None:
                same(request, whole, condition, request.number)


def test_a_callback_that_ends_its_thread_ends_no_other_request(
    one: Pipeline, condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the request has an image or an error: more of them than a session draws and describes at once."""
    told = list[type[BaseException] | None]()
    monkeypatch.setattr(threading, "excepthook", lambda given: told.append(given.exc_type))

    def leave(request: Request) -> None:
        raise SystemExit(3)

    with Stopping(one, condition).session(1) as session:
        requests = [session.submit(condition, seed, "ar", top_k=-5 if seed % 2 else 0) for seed in range(6)]
        for request in requests:
            request.add_done_callback(leave)
        assert [request.exception(LIMIT) is None for request in requests] == [True, False] * 3
    assert told == [SystemExit] * 6


def test_closing_ends_what_waits_and_what_is_described(one: Pipeline, condition: Condition) -> None:
    held, slow, ended = Gate(), Gate(), list[int]()
    session = Stopping(one, condition, slow=slow).session(1)
    requests = [session.submit(condition, 0, "ar", progress=held.progress), session.submit("slow", 1, "ar")]
    requests += [session.submit(prompt, 2, "ar") for prompt in (condition, "a prompt")]
    for request in requests:
        request.add_done_callback(lambda request: ended.append(request.number))
    assert held.reached.wait(LIMIT)
    assert slow.reached.wait(LIMIT)
    closing = threading.Thread(target=session.close, kwargs={"cancel": True})
    closing.start()
    for request in requests[2:]:
        with pytest.raises(CancelledError):
            request.result(LIMIT)
    assert not requests[0].done
    assert not requests[1].done
    held.opened.set()
    slow.opened.set()
    closing.join(LIMIT)
    assert sorted(ended) == [0, 1, 2, 3]
    assert all(isinstance(request.exception(), CancelledError) for request in requests)
    with pytest.raises(RuntimeError, match="session: it is closed"):
        session.submit(condition)
    session.close()


def test_a_prompt_that_is_wrong_takes_no_place(one: Pipeline, condition: Condition) -> None:
    """It fails though the only place is taken, and so does a wrong setting before its prompt is described."""
    gate = Gate()
    stopping = Stopping(one, condition)
    with stopping.session(1) as session:
        session.submit(condition, 0, "ar", progress=gate.progress)
        assert gate.reached.wait(LIMIT)
        wrong = session.submit("a prompt", 1, "ar", top_p=7.0)
        with pytest.raises(SettingsError, match="top_p"):
            wrong.result(LIMIT)
        assert stopping.front_end.described == []  # type: ignore[attr-defined]  # a FrontEnd
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stopping.front_end, "describe", _misunderstand)
            with pytest.raises(PromptError):
                session.submit("?", 1, "ar").result(LIMIT)
        gate.opened.set()


def _misunderstand(*given: Any) -> Any:
    raise PromptError("prompt: it is not understood")

"""The scheduler: decodes begin together, hand over where they wait, go on beside what takes long, and end alone."""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import greenlet
import pytest

from mulo_sd.engines.passes.scheduler import Scheduler


class Steps:
    """A scheduler whose decodes wait for steps that they take together."""

    def __init__(self, threads: int = 2) -> None:
        self.waiting: deque[greenlet.greenlet] = deque()
        self.steps: list[int] = []  # how many took each together
        self.names: set[str] = set()  # of threads that ran anything
        self.scheduler = Scheduler(self._step, threads, self._noted)

    def _noted(self) -> None:
        self.names.add(threading.current_thread().name)

    def _step(self) -> bool:
        count = len(self.waiting)
        if count:
            self.steps.append(count)
        while self.waiting:
            self.scheduler.resume(self.waiting.popleft())
        return bool(count)

    def step(self) -> None:
        """Take one, with all others that wait for one."""
        self.waiting.append(greenlet.getcurrent())
        self.scheduler.wait()

    def run(self, *decodes: Callable[[], None]) -> None:
        """Run decodes to their ends."""
        self.scheduler.begin(*decodes)
        self.scheduler.close()


def test_decodes_take_their_steps_together() -> None:
    """From the first to the last of each, in one thread."""
    steps = Steps()
    threads: set[int] = set()

    def decode(count: int) -> None:
        for _ in range(count):
            steps.step()
            threads.add(threading.get_ident())

    steps.run(*(partial(decode, count) for count in (2, 5, 3)))
    assert steps.steps == [3, 3, 2, 1, 1]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_decode_that_comes_later_joins() -> None:
    steps, first_began, second_came = Steps(), threading.Event(), threading.Event()

    def first() -> None:
        steps.step()
        first_began.set()
        assert second_came.wait(10)
        for _ in range(2):
            steps.step()

    steps.scheduler.begin(first)
    assert first_began.wait(10)
    steps.scheduler.begin(steps.step)
    second_came.set()
    steps.scheduler.close()
    assert steps.steps == [1, 2, 1]


def test_a_pause_lets_the_others_go_first() -> None:
    steps, order = Steps(), []

    def decode(name: str) -> None:
        for number in range(3):
            order.append((name, number))
            steps.scheduler.pause()

    steps.run(partial(decode, "a"), partial(decode, "b"))
    assert order == [(name, number) for number in range(3) for name in "ab"]


def test_what_takes_long_holds_nobody_up() -> None:
    """The others go on beside it; its answer or its error comes back to its own decode."""
    steps, go_on = Steps(), threading.Event()
    answers: list[object] = []

    def long() -> None:
        answers.append(steps.scheduler.beside(lambda: (go_on.wait(10), threading.current_thread().name)))
        try:
            steps.scheduler.beside(lambda: int("nothing"))
        except ValueError as error:
            answers.append(type(error))
        steps.step()

    def short() -> None:
        for _ in range(5):
            steps.step()
        go_on.set()

    steps.run(long, short)
    assert answers == [(True, "mulo-sd-beside_0"), ValueError]
    assert steps.steps[:5] == [1] * 5
    assert steps.names == {"mulo-sd-decodes", "mulo-sd-beside_0"}


def test_a_decode_that_raises_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    steps, error = Steps(), SystemExit(3)

    def fails() -> None:
        steps.step()
        raise error

    def goes_on() -> None:
        for _ in range(3):
            steps.step()

    steps.run(fails, goes_on)
    assert told == [error]
    assert steps.steps == [2, 1, 1]


def test_closed() -> None:
    """It ends once all have; then nothing begins any more. One that never began has no thread."""
    steps = Steps()
    steps.run(lambda: None, steps.step)
    with pytest.raises(RuntimeError, match="closed"):
        steps.scheduler.begin(steps.step)
    idle = Steps()
    idle.scheduler.close()
    assert idle.names == set()


def test_an_idle_scheduler_takes_no_time() -> None:
    """It waits for decodes; it does not look for them."""
    steps = Steps()
    steps.scheduler.begin(lambda: None)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
    steps.scheduler.close()

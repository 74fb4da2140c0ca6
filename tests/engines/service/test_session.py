"""Several images at once: each is the one that is drawn alone, whatever becomes of the others."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.request import Request
from mulo_sd.engines.service.session import DeadlineError, Session
from mulo_sd.engines.settings import SettingsError
from tests.engines.service.toy_session import REQUESTS, alone


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (3, 1), (7, 1), (7, 2), (2, 5)])
def test_images_are_those_drawn_alone(pipeline: Pipeline, condition: Condition, size: int, workers: int) -> None:
    """Modes, seeds and settings mixed; more requests than places, fewer places than workers."""
    with pipeline.session(size, workers=workers) as session:
        asked = [session.submit(condition, **given) for given in REQUESTS]
        found = [request.result(60) for request in asked]
    for given, result in zip(REQUESTS, found, strict=True):
        np.testing.assert_array_equal(result.tokens, alone(pipeline, condition, **given))


def test_passes_are_shared(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    """Eight decodes of one mode make hardly more passes than one; without pools as many as all of them.

    On a busy machine some of these decodes, of milliseconds, end before others begin: the best of some tries counts.
    """
    passes = {name: list[int]() for name in pipelines}
    for _ in range(5):
        for name, pipeline in pipelines.items():
            with pipeline.session(8) as session:
                for request in [session.submit(condition, seed, "ar") for seed in range(8)]:
                    request.result(60)
                passes[name].append(session.passes)
    assert set(passes["no pools"]) == {8 * 16}
    assert 16 <= min(passes["pools"]) < 4 * 16
    assert 16 <= min(passes["few"]) < 6 * 16, "but for prefills, passes of one token"


def test_workers_decode_side_by_side(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    """Each in a thread of its own: two decodes wait for each other in the midst of a pass, and both go on."""
    both, threads = threading.Barrier(2), set[str]()

    def meet(done: int, total: int) -> None:
        if done == total:
            threads.add(threading.current_thread().name + str(threading.get_ident()))
            both.wait(60)

    with pipelines["pools"].session(4, workers=2) as session:
        for request in [session.submit(condition, seed, "ar", progress=meet) for seed in range(2)]:
            request.result(60)
    assert len(threads) == 2


@pytest.mark.parametrize("workers", [0, 257, 1.5, True])
def test_a_number_of_workers_that_is_none(pipelines: Mapping[str, Pipeline], workers: Any) -> None:
    with pytest.raises(SettingsError, match="workers: expected"):
        pipelines["pools"].session(2, workers=workers)


def test_requests_join_from_several_threads(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    pipeline, found = pipelines["pools"], dict[int, NDArray[np.int64]]()
    with pipeline.session(3) as session:

        def ask(number: int) -> None:
            time.sleep(0.003 * number)
            found[number] = session.submit(condition, **REQUESTS[number]).result(60).tokens

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(REQUESTS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, given in enumerate(REQUESTS):
        np.testing.assert_array_equal(found[number], alone(pipeline, condition, **given))


def stopping(at: int, act: Callable[[], None]) -> Callable[[int, int], None]:
    """Return a progress callback that acts once some cells are decided."""

    def progress(done: int, total: int) -> None:
        if done >= at:
            act()

    return progress


def _fail() -> None:
    raise RuntimeError("a callback that fails")


def test_one_that_ends_early_disturbs_no_other(pipeline: Pipeline, condition: Condition) -> None:
    """Cancelled, failed, out of time, misunderstood: the others' images stay what they are."""
    cancelled: list[Request] = []
    submitted = threading.Event()  # the request may be on its way before `submit` returns it

    def cancel() -> None:
        assert submitted.wait(60)
        cancelled[0].cancel()

    with pipeline.session(6) as session:
        cancelled.append(session.submit(condition, 1, "ar", progress=stopping(5, cancel)))
        submitted.set()
        failed = session.submit(condition, 2, "ar", progress=stopping(7, _fail))
        late = session.submit(condition, 3, "ar", deadline=1e-6)
        wrong = session.submit(condition, 4, "ar", top_p=7.0)
        whole = [session.submit(condition, **given) for given in REQUESTS]
        with pytest.raises(CancelledError):
            cancelled[0].result(60)
        assert isinstance(failed.exception(60), RuntimeError)
        with pytest.raises(DeadlineError, match="expected the image within"):
            late.result(60)
        with pytest.raises(SettingsError, match="top_p"):
            wrong.result(60)
        for given, request in zip(REQUESTS, whole, strict=True):
            np.testing.assert_array_equal(request.result(60).tokens, alone(pipeline, condition, **given))


def test_what_a_decode_leaves_behind_is_nothing_to_the_next(
    pipelines: Mapping[str, Pipeline], condition: Condition
) -> None:
    """A condition of which the model makes numbers that are none, then others at the same place."""
    pipeline = pipelines["pools"]
    broken = Condition(np.full_like(condition.cond, 1e30))
    with np.errstate(all="ignore"), pipeline.session(1) as session:
        session.submit(broken, 1, "ar").exception(60)
        found = session.submit(condition, **REQUESTS[0]).result(60).tokens
    np.testing.assert_array_equal(found, alone(pipeline, condition, **REQUESTS[0]))


def test_progress_and_the_partial_image(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    """Half-way the image shows what is decided, and grey where nothing is."""
    pipeline = pipelines["pools"]
    half, go_on = threading.Event(), threading.Event()
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        told.append(done)
        if done == 8:
            half.set()
            assert go_on.wait(60)

    with pipeline.session(2) as session:
        request = session.submit(condition, 1, "ar", progress=progress)
        assert half.wait(60)
        assert request.progress == (8, 16)
        assert not bool(request.done)
        image = request.partial_image()
        assert image is not None
        shown = np.array(image)
        pixels = shown.shape[0] // 4
        assert (shown[2 * pixels :] == 128).all(), "rows 2 and 3 are not decided"
        assert not (shown[: 2 * pixels] == 128).all()
        go_on.set()
        whole = request.result(60)
    assert told == list(range(1, 17))
    assert request.done
    last = request.partial_image()
    assert last is not None
    np.testing.assert_array_equal(np.array(last), np.array(whole.image))


@pytest.mark.parametrize("mode", ["ar", "exact"])
def test_a_partial_image_by_sweeps(mode: Any, pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    """Progress counts what is decided; a guess is grey, but for a draft, which is shown until a sample replaces it."""
    reached, go_on = threading.Event(), threading.Event()
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        told.append(done)
        if done >= 3:
            reached.set()
            assert go_on.wait(60)

    pipeline = pipelines["pools"]
    with pipeline.session(1) as session:
        request = session.submit(condition, 1, mode, progress=progress, sweep_width=6)
        assert reached.wait(60)
        assert request._decoder is not None
        held = request._decoder.states[0].grid >= 0
        assert held[told[-1]], "there is a guess behind what is decided"
        image = request.partial_image()
        assert image is not None
        shown = np.array(image)
        pixels = shown.shape[0] // 4
        cells = shown.reshape(4, pixels, 4, pixels, 3).transpose(0, 2, 1, 3, 4).reshape(16, -1)
        grey = (cells == 128).all(axis=1)
        assert grey.tolist() == [mode == "ar" and cell >= told[-1] for cell in range(16)]
        go_on.set()
        whole = request.result(60)
    assert told == sorted(set(told)), "every sweep decides a cell"
    assert told[-1] == 16
    assert len(told) == whole.stats.sweeps
    np.testing.assert_array_equal(whole.tokens, alone(pipeline, condition, seed=1, mode="ar", sweep_width=1))


def test_a_cancelled_request_ends_before_its_next_sweep(
    pipelines: Mapping[str, Pipeline], condition: Condition
) -> None:
    """As before any other pass."""
    submitted = threading.Event()
    requests: list[Request] = []
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        assert submitted.wait(60)
        told.append(done)
        requests[0].cancel()

    with pipelines["pools"].session(1) as session:
        requests.append(session.submit(condition, 1, "ar", progress=progress, sweep_width=4))
        submitted.set()
        with pytest.raises(CancelledError):
            requests[0].result(60)
    assert len(told) == 1
    assert requests[0].progress == (told[0], 16)


def test_a_request_that_waits_has_nothing_to_show(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def block(done: int, total: int) -> None:
        begun.set()
        assert go_on.wait(60)

    with pipelines["pools"].session(1) as session:
        session.submit(condition, 1, "ar", progress=block)
        waiting = session.submit(condition, 2, "ar")
        assert begun.wait(60)
        assert waiting.progress == (0, 0)
        assert waiting.partial_image() is None
        waiting.cancel()
        go_on.set()
        with pytest.raises(CancelledError):
            waiting.result(60)


def test_a_closed_session_takes_nothing(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    session = pipelines["pools"].session(1)
    session.close()
    with pytest.raises(RuntimeError):
        session.submit(condition, 1, "ar")


def test_closing_may_end_what_is_on_its_way(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    session = pipelines["pools"].session(1)
    requests = [session.submit(condition, seed, "ar") for seed in range(3)]
    session.close(cancel=True)
    assert all(request.done for request in requests)
    assert any(isinstance(request.exception(), CancelledError) for request in requests)


@pytest.mark.parametrize("size", [0, -1, 257, 2.0, True, None, "2"])
def test_wrong_size(pipelines: Mapping[str, Pipeline], size: Any) -> None:
    with pytest.raises(SettingsError, match=r"size: expected a whole number in 1\.\.256, got"):
        Session(pipelines["pools"], size)


@pytest.mark.parametrize("deadline", [0, -1.0, float("nan"), float("inf"), "5", True, 1e10])
def test_wrong_deadline(pipelines: Mapping[str, Pipeline], condition: Condition, deadline: float) -> None:
    with pipelines["pools"].session(1) as session, pytest.raises(SettingsError, match=r"^deadline: expected a number "):
        session.submit(condition, deadline=deadline)


def test_generate_takes_several_prompts(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    pipeline = pipelines["pools"]
    found = pipeline.generate([condition] * 3, [4, 5, 6], "ar", batch=2)
    for seed, result in zip((4, 5, 6), found, strict=True):
        np.testing.assert_array_equal(result.tokens, alone(pipeline, condition, seed=seed, mode="ar"))
    same = pipeline.generate([condition] * 2, 4, "ar", batch=2)
    np.testing.assert_array_equal(same[0].tokens, same[1].tokens)


def test_generate_refuses_half_of_a_batch(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    pipeline: Any = pipelines["pools"]
    with pytest.raises(SettingsError, match="expected one prompt without batch"):
        pipeline.generate([condition])
    with pytest.raises(SettingsError, match="expected a list of prompts with batch"):
        pipeline.generate(condition, batch=2)
    with pytest.raises(SettingsError, match="expected one of each of 2 prompts, got 1"):
        pipeline.generate([condition] * 2, [1], batch=2)

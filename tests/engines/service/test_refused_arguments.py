"""Arguments of another kind than expected: each is refused at once, in one line, by the package's own errors."""

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.service.hooks import NO_HOOKS, Hooks
from mulo_sd.engines.service.pipeline import Pipeline
from tests.engines.service.toy_session import LIMIT, Gate

HOOKS = [
    ("progress", 5, "progress: expected a function, got 5"),
    ("progress", None, "progress: expected a function, got None"),
    ("watch", "print", "watch: expected a function, got 'print'"),
    ("accepted", 0.5, "accepted: expected a function, got 0.5"),
    ("record_logits", 1, "record_logits: expected True or False, got 1"),
]


@pytest.mark.parametrize("call", [engines.load, engines.load_plan, engines.Pipeline.load_condition])
@pytest.mark.parametrize("path", [None, 5, b"bundles"])
def test_paths(call: Callable[..., object], path: object, pipelines: Mapping[str, Pipeline]) -> None:
    given = [pipelines["pools"], path] if call is engines.Pipeline.load_condition else [path]
    with pytest.raises(engines.SettingsError, match=r"^path: expected one as text or as a Path, got"):
        call(*given)


@pytest.mark.parametrize("backend", [None, 5, ["ort"]])
def test_backends(backend: Any, tiny_bundle: Path) -> None:
    with pytest.raises(engines.BackendError, match=r"^backend: expected one of ort, .* or module:factory, got "):
        engines.load(tiny_bundle, backend)


def test_text_models(tiny_bundle: Path) -> None:
    with pytest.raises(engines.SettingsError, match=r"^text_model: expected a folder or a name, got 5$"):
        engines.load(tiny_bundle, text_model=5)  # type: ignore[arg-type]  # that is the test


def test_plans(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    with pytest.raises(engines.PlanError, match=r"^plan: expected an engines\.Plan, got 'plan\.json'; load_plan reads"):
        pipelines["pools"].draw(condition, plan="plan.json")  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(("name", "value", "said"), HOOKS)
def test_hooks(pipelines: Mapping[str, Pipeline], condition: Condition, name: str, value: object, said: str) -> None:
    """A session refuses them where they are given, before the request exists; so does a drawing."""
    pipeline, options = pipelines["pools"], dict[str, Any]({name: value})
    with pipeline.session(1) as session:
        for call in (session.submit, pipeline.draw, pipeline.generate):
            with pytest.raises(engines.SettingsError) as caught:
                call(condition, 1, "ar", **options)
            assert str(caught.value) == said
        assert not session._requests


def test_hooks_reach_the_decode(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    """By their names, alone and in a session; no hook is a setting."""
    pipeline, seen = pipelines["pools"], list[str]()

    def look(name: str) -> Callable[..., None]:
        return lambda *_: seen.append(name)

    options: dict[str, Any] = {"progress": look("progress"), "watch": look("watch"), "record_logits": True}
    with pipeline.session(1) as session:
        for draw in (pipeline.generate, lambda *given, **named: session.submit(*given, **named).result(LIMIT)):
            result = draw(condition, 1, "ar", **options)
            assert set(seen) == {"progress", "watch"}
            assert seen[0] == "watch"
            assert all(item.logits is not None for item in result.trace.passes)
            seen.clear()
    assert all(item.logits is None for item in pipeline.generate(condition, 1, "ar").trace.passes)
    assert Hooks() == NO_HOOKS


def test_done_callbacks(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    with pipelines["pools"].session(1) as session:
        request = session.submit(condition, 1, "ar")
        with pytest.raises(engines.SettingsError, match=r"^call: expected a function, got 5$"):
            request.add_done_callback(5)  # type: ignore[arg-type]  # that is the test
        request.result(LIMIT)


def test_states_at_the_end(pipelines: Mapping[str, Pipeline], condition: Condition) -> None:
    """A request is "cancelled" only where that is what ended it."""
    gate = Gate()

    def cancelled_inside(done: int, total: int) -> None:
        raise CancelledError

    with pipelines["pools"].session(1) as session:
        held = session.submit(condition, 1, "ar", progress=gate.progress)
        waiting = session.submit(condition, 2, "ar")
        assert gate.reached.wait(LIMIT)
        waiting.cancel()
        assert (waiting.state, waiting.done) == ("cancelled", True)
        assert "cancelled" in repr(waiting)
        gate.opened.set()
        held.result(LIMIT)
        held.cancel()
        assert held.state == "done"
        failed = session.submit(condition, 3, "ar", progress=cancelled_inside)
        assert isinstance(failed.exception(LIMIT), CancelledError)
        assert failed.state == "done"

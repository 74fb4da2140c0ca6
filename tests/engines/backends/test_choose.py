"""Backends by name: ours, and anybody's by module:factory."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.engines.backends import WrappedBackend, make_backend
from mulo_sd.engines.backends.base import CAPABILITIES, Backend, KVCache, Scores, Tensors, Traits


class Whole(Backend):
    """A backend that nobody runs."""

    name = "made"

    def __init__(self, bundle: object = None, threads: int | None = None) -> None:
        self.bundle, self.threads = bundle, threads

    def run(self, graph: str, inputs: Tensors) -> dict[str, Any]:
        raise NotImplementedError

    def new_cache(self, graph: str, batch: int) -> Any:
        raise NotImplementedError

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Any:
        raise NotImplementedError

    def keep_slots(self, graph: str, cache: KVCache, slots: Any) -> None:
        raise NotImplementedError


class Scoring(Whole):
    """One that has `score`, and does not say so."""

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        raise NotImplementedError


class Pooling(Scoring):
    """One that has a pool, and does not say so."""

    traits = Traits(scores=True)

    def new_pool(self, graph: str, rows: int) -> Any:
        raise NotImplementedError


class HalfMade(Backend):
    name = "half"

    def run(self, graph: str, inputs: Tensors) -> dict[str, Any]:
        raise NotImplementedError


def changed(kind: type[Backend], **attributes: object) -> Callable[[object, object], Backend]:
    """Return a factory of a kind whose instances have other attributes."""

    def make(bundle: object, threads: object) -> Backend:
        backend = kind()
        vars(backend).update(attributes)
        return backend

    return make


made = Whole
without_a_base = SimpleNamespace
nameless = changed(Whole, name=None)
unnamed = changed(Whole, name="")
two_lines = changed(Whole, name="one\ntwo")
traitless = changed(Whole, traits={"scores": True})
silent_scores = changed(Scoring)
silent_pool = changed(Pooling)
poolless = changed(Pooling, traits=Traits(scores=True))
no_score = changed(Whole, traits=Traits(scores=True))
no_scores_of = changed(Scoring, traits=Traits(scores=True, scores_host_logits=True))
no_hidden = changed(Whole, traits=Traits(branches=True))
no_pool = changed(Scoring, traits=Traits(scores=True, pools=True))


def half_made(bundle: object, threads: object) -> object:
    return HalfMade()  # type: ignore[abstract]  # what Python says of it is tested


def sharing_none(bundle: object, threads: object) -> object:
    return changed(Whole, traits=Traits(max_shared_tokens="all"))(bundle, threads)  # type: ignore[arg-type]  # wrong


def capable(bundle: object, threads: object) -> object:
    return changed(Whole, traits=Traits(capabilities="ar"))(bundle, threads)  # type: ignore[arg-type]  # wrong


def pooling_alone(bundle: object, threads: object) -> object:
    return changed(Whole, traits=Traits(pools=True))(bundle, threads)


def wrapping(bundle: object, threads: object) -> Backend:
    """A wrapper has every method; which of them it has is what it declares."""
    return WrappedBackend(Whole())


def nothing_at_all(bundle: object, threads: object) -> object:
    return None


def leaving(bundle: object, threads: object) -> object:
    sys.exit("no licence")


def without_arguments() -> object:
    return None


def broken(bundle: object, threads: object) -> object:
    raise RuntimeError("no such device\nin this machine")


def test_a_factory_of_ones_own(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    pipeline = engines.load(tiny_bundle, backend="test_choose:made", threads=3)
    assert pipeline.backend.name == "made"
    assert vars(pipeline.backend)["threads"] == 3
    assert vars(pipeline.backend)["bundle"].path == tiny_bundle


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nonsense", "expected one of ort, ort-cuda, trt-rtx, trt, torch-cuda or module:factory, got 'nonsense'"),
        ("no_such_module:make", "backend no_such_module:make: ModuleNotFoundError: No module named 'no_such_module'"),
        ("test_choose:nothing", "backend test_choose:nothing: AttributeError"),
        ("test_choose:broken", "backend test_choose:broken: RuntimeError: no such device"),
        (
            "test_choose:half_made",
            "half_made: TypeError: Can't instantiate abstract class HalfMade with",
        ),
        ("test_choose:nothing_at_all", "derives from engines.Backend, got one of NoneType"),
        ("test_choose:without_a_base", "backend test_choose:without_a_base: TypeError"),
        ("test_choose:nameless", "backend test_choose:nameless: name: expected a line of text, got None"),
        ("test_choose:unnamed", "backend test_choose:unnamed: name: expected a line of text, got ''"),
        ("test_choose:two_lines", "backend test_choose:two_lines: name: expected a line of text, got 'one"),
        ("test_choose:traitless", "backend test_choose:traitless: traits: expected engines.Traits, got dict"),
        ("test_choose:silent_scores", "silent_scores: score: expected a trait that declares the method, got none"),
        ("test_choose:silent_pool", "silent_pool: new_pool: expected a trait that declares the method, got none"),
        ("test_choose:no_score", "no_score: score: expected the method that its traits declare, got none"),
        ("test_choose:no_scores_of", "no_scores_of: scores_of: expected the method that its traits declare"),
        ("test_choose:no_hidden", "no_hidden: feed_with_hidden: expected the method that its traits declare, got none"),
        ("test_choose:no_pool", "no_pool: new_pool: expected the method that its traits declare, got none"),
        ("test_choose:pooling_alone", "traits: expected scores beside pools, got scores=False"),
        ("test_choose:sharing_none", "max_shared_tokens: expected a number of tokens, got 'all'"),
        ("test_choose:capable", "traits: capabilities: expected a set of names, got 'ar'"),
        ("test_choose:leaving", "backend test_choose:leaving: SystemExit: no licence"),
        ("test_choose:without_arguments", "backend test_choose:without_arguments: TypeError"),
        ("test_choose:sys.exit", "backend: expected module:factory, such as my_module:make"),
        ("./test_choose.py:made", "no file or folder, got './test_choose.py:made'"),
        ("test choose:made", "got 'test choose:made'"),
        ("1st:made", "got '1st:made'"),
        (":", "backend: expected module:factory, such as my_module:make, no file or folder, got ':'"),
    ],
)
def test_what_is_no_backend(name: str, expected: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    bundle = engines.load(tiny_bundle).bundle
    with pytest.raises(engines.BackendError) as error:
        make_backend(name, bundle)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("factory", ["wrapping", "poolless"])
def test_methods_that_an_object_has_and_does_not_offer(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    """A wrapper, and a backend that lets no decodes share passes with this bundle."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    backend = engines.load(tiny_bundle, backend=f"test_choose:{factory}").backend
    assert not backend.traits.pools


def test_capabilities(tiny_bundle: Path) -> None:
    assert engines.load(tiny_bundle).backend.traits.capabilities == set(CAPABILITIES)
    assert Traits(capabilities=["ar", "guidance"]).capabilities == {"ar", "guidance"}  # type: ignore[arg-type]
    with pytest.raises(engines.BackendError, match=r"^traits: capabilities: expected some of .*, got fly$"):
        Traits(capabilities=frozenset({"ar", "fly"}))

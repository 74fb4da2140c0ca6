"""What wraps a backend has its traits, all of them: one that gets lost would let padding overwrite living slots."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mulo_sd import conformance, engines
from mulo_sd.conformance import mutants
from mulo_sd.conformance.bench.timed import TimedBackend
from mulo_sd.conformance.engines.probes.probe import Listening
from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.arithmetic import Arithmetic
from mulo_sd.conformance.mutants.scores import OwnScores, ScoresBackend
from mulo_sd.engines.backends.base import Backend, Traits
from mulo_sd.engines.backends.choose import check_backend
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.backends.ort.device import OnnxRuntimeDeviceBackend
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.backends.wrapped import WrappedBackend
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.passes.decodes_backend import DecodesBackend
from mulo_sd.engines.passes.shared_passes import SharedPasses
from tests.engines.service.toy_session import FIELDS, toy_models
from tests.fakes.noting_backend import EVERYTHING, NotingBackend
from tests.fakes.torch_backend import TorchBackend as PlainBackend

SCORES_OF_ITS_OWN = {"scores", "scores_host_logits", "pools"}
# What each kind of wrapper does otherwise than the backend inside it.
CHANGED: dict[type[WrappedBackend], set[str]] = {
    WrappedBackend: set(),
    TimedBackend: {"pools"},
    UnscoredBackend: SCORES_OF_ITS_OWN,
    Listening: SCORES_OF_ITS_OWN,
    ScoresBackend: {"pools"},
    DecodesBackend: {"pools"},
}


def every_kind(kind: type[WrappedBackend]) -> Iterator[type[WrappedBackend]]:
    """Return a class and all that derive from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from every_kind(derived)


def kinds() -> list[type[WrappedBackend]]:
    """Return every kind of wrapper of the four packages; mutants are in modules that their package lists."""
    for module in pkgutil.iter_modules(mutants.__path__):
        if not module.name.startswith(("test_", "__")):
            import_module(f"{mutants.__name__}.{module.name}")
    return sorted({kind for kind in every_kind(WrappedBackend) if kind.__module__.startswith("mulo_sd")}, key=str)


def made(kind: type[WrappedBackend], inner: Backend) -> WrappedBackend:
    """Return a wrapper of a kind, whatever else it is made of."""
    others: dict[str, Any] = {"arithmetic": Arithmetic(), "kind": OwnScores, "number": 0, "check": lambda: None}
    names = list(inspect.signature(kind).parameters)
    first: Any = SharedPasses(inner, 2) if names[0] == "shared" else inner
    return kind(first, *(others.get(name) for name in names[1:] if name != "synchronise"))


def test_every_trait_is_there_in_the_backend_that_is_wrapped() -> None:
    """Else a wrapper could lose one of which no test asks."""
    defaults = Traits()
    for item in fields(Traits):
        assert vars(EVERYTHING)[item.name] != vars(defaults)[item.name], item.name


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("traits", [EVERYTHING, Traits(), replace(EVERYTHING, pads_passes=False)])
def test_a_wrapper_has_the_traits_of_what_it_wraps(kind: type[WrappedBackend], traits: Traits) -> None:
    """All but those that it names; what it names is little, and never that nothing is padded."""
    inner = NotingBackend()
    inner.traits = traits
    wrapper = made(kind, inner)
    for item in fields(Traits):
        expected = kind.changed_traits.get(item.name, vars(traits)[item.name])
        assert vars(wrapper.traits)[item.name] == expected
    assert kind.changed_traits.get("pads_passes", True)
    assert wrapper.device == "a device"
    assert wrapper.notes == ("a note",)


@pytest.mark.parametrize("kind", CHANGED)
def test_what_a_wrapper_changes(kind: type[WrappedBackend]) -> None:
    wrapper = made(kind, NotingBackend())
    changed = {item.name for item in fields(Traits) if vars(wrapper.traits)[item.name] != vars(EVERYTHING)[item.name]}
    assert changed == CHANGED[kind]


def test_a_wrapper_cannot_forget_that_passes_are_padded() -> None:
    """A class that declares all traits anew is refused; so is an object with a trait of another name."""
    with pytest.raises(TypeError, match=r"^Forgetful: traits: expected changed_traits"):

        class Forgetful(WrappedBackend):
            traits = Traits(scores=True)

    class Misspelt(WrappedBackend):
        changed_traits: ClassVar[dict[str, Any]] = {"pads_pass": False}

    with pytest.raises(TypeError, match="pads_pass"):
        Misspelt(NotingBackend())


@pytest.fixture
def backends(tiny_bundle: Path) -> dict[str, Backend]:
    """Return one of every kind that runs without a GPU; TensorRT's is in its own tests."""
    bundle, models = open_bundle(tiny_bundle), toy_models()
    return {
        "ort": OnnxRuntimeBackend(bundle, 1),
        "ort-cuda": OnnxRuntimeDeviceBackend(bundle, "cpu"),
        "torch-cuda": TorchBackend(models, torch.float32, "cpu"),
        "graphs alone": PlainBackend(models, FIELDS),
    }


def test_every_backend_keeps_its_traits_when_it_is_wrapped(backends: dict[str, Backend]) -> None:
    """Its traits and its methods agree, too, and no two backends declare the same."""
    assert len({backend.traits for backend in backends.values()}) == len(backends)
    for name, backend in backends.items():
        check_backend(name, backend)
        assert WrappedBackend(backend).traits == backend.traits
        assert TimedBackend(backend).traits == replace(backend.traits, pools=False)
        decodes = DecodesBackend(SharedPasses(backend, 1), 0, lambda: None)
        assert decodes.traits == replace(backend.traits, scores=True, pools=False, pads_passes=True)


CALLS: dict[str, Callable[[Backend], object]] = {
    "run": lambda backend: backend.run("g", {"x": np.zeros(1)}),
    "new_cache": lambda backend: backend.new_cache("g", 1),
    "feed": lambda backend: backend.feed("g", None, {"tokens": np.zeros((1, 1))}),  # type: ignore[arg-type]
    "feed_with_hidden": lambda backend: backend.feed_with_hidden(
        *("g", None, {"tokens": np.zeros((1, 1))})  # type: ignore[arg-type]
    ),
    "keep_slots": lambda backend: backend.keep_slots("g", None, np.zeros(1, dtype=np.int64)),  # type: ignore[arg-type]
    "score": lambda backend: backend.score("g", None, {"tokens": np.zeros((1, 1))}),  # type: ignore[arg-type]
    "scores_of": lambda backend: backend.scores_of(np.zeros((1, 1, 2), dtype=np.float32)),
    "new_pool": lambda backend: backend.new_pool("g", 1),
    "gains_by_sharing": lambda backend: backend.gains_by_sharing("target"),
    "takes_shared": lambda backend: backend.takes_shared("target", 16, 8),
    "memory": lambda backend: backend.memory(),
}


def test_a_wrapper_forwards_every_method_of_the_interface() -> None:
    """A method that comes to `Backend` has to come to `WrappedBackend` too."""
    public = {name for name, value in vars(Backend).items() if callable(value) and not name.startswith("_")}
    assert public == set(CALLS)
    inner = NotingBackend()
    for name, call in CALLS.items():
        call(WrappedBackend(inner))
        assert inner.called.pop() == name


def test_nothing_looks_for_a_member_of_a_backend_by_name() -> None:
    """What a backend may leave out is a trait, or has a default."""
    by_name = re.compile(r"(?:get|has)attr\([\w.]*backend\b")
    packages = [Path(package.__path__[0]) for package in (engines, conformance)]
    modules = [module for package in packages for module in package.rglob("*.py")]
    assert len(modules) > 100
    assert [module.name for module in modules if by_name.search(module.read_text(encoding="utf-8"))] == []


def test_hidden_states_come_with_the_scores() -> None:
    """A backend that has scores need not write both; one that has none says what is missing."""

    class Plain(NotingBackend):
        feed_with_hidden = Backend.feed_with_hidden

    with pytest.raises(NotImplementedError, match=r"^ArrayScores: hidden: of a graph that gives none, or not written$"):
        CALLS["feed_with_hidden"](Plain())
    Plain.traits = Traits(branches=True)
    with pytest.raises(NotImplementedError, match=r"^backend noting: feed_with_hidden: declared in its traits, but"):
        CALLS["feed_with_hidden"](Plain())


@pytest.mark.parametrize("name", ["score", "scores_of", "new_pool"])
def test_a_method_that_is_declared_and_not_written(name: str) -> None:
    class Promising(NotingBackend):
        score, scores_of, new_pool = Backend.score, Backend.scores_of, Backend.new_pool

    with pytest.raises(NotImplementedError, match=f"^backend noting: {name}: declared in its traits, but not written$"):
        CALLS[name](Promising())

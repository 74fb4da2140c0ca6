"""Backends by name: ours, and anybody's by module:factory."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import engines
from engines.backends import make_backend
from engines.backends.base import CAPABILITIES, capabilities_of


def made(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="made", run=0, new_cache=0, feed=0, keep_slots=0, bundle=bundle, threads=threads)


def half_made(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="half", run=0)


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
        ("test_choose:half_made", "expected an engines.Backend, got one without new_cache, feed, keep_slots"),
        (":", "backend :: ValueError"),
    ],
)
def test_what_is_no_backend(name: str, expected: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    bundle = engines.load(tiny_bundle).bundle
    with pytest.raises(engines.BackendError) as error:
        make_backend(name, bundle)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_capabilities(tiny_bundle: Path) -> None:
    backend = engines.load(tiny_bundle).backend
    assert capabilities_of(backend) == set(CAPABILITIES)
    some = SimpleNamespace(name="some", capabilities={"ar", "guidance"})
    assert capabilities_of(some) == {"ar", "guidance"}
    with pytest.raises(engines.BackendError, match=r"backend odd: capabilities: expected some of .*, got fly"):
        capabilities_of(SimpleNamespace(name="odd", capabilities={"ar", "fly"}))

"""Backends by name: ours, and anybody's by module:factory."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.engines.backends import make_backend
from mulo_sd.engines.backends.base import CAPABILITIES, capabilities_of

# What can be called.
METHODS: dict[str, Any] = dict.fromkeys(("run", "new_cache", "feed", "keep_slots"), len)


def made(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="made", bundle=bundle, threads=threads, **METHODS)


def half_made(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="half", run=0)


def uncalled(bundle: object, threads: object) -> object:
    return SimpleNamespace(**METHODS | {"name": "uncalled", "feed": 0})


def nameless(bundle: object, threads: object) -> object:
    return SimpleNamespace(name=None, **METHODS)


def pooling_alone(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="pooling", new_pool=len, **METHODS)


def sharing_none(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="sharing", max_shared_tokens="all", **METHODS)


def capable(bundle: object, threads: object) -> object:
    return SimpleNamespace(name="capable", capabilities="ar", **METHODS)


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
        ("test_choose:half_made", "expected an engines.Backend, got one without new_cache, feed, keep_slots"),
        ("test_choose:nothing_at_all", "got one without name, run, new_cache, feed, keep_slots: NoneType"),
        ("test_choose:uncalled", "backend test_choose:uncalled: feed: expected a method, got int"),
        ("test_choose:nameless", "backend test_choose:nameless: name: expected a line of text, got None"),
        ("test_choose:pooling_alone", "backend test_choose:pooling_alone: expected score beside new_pool"),
        ("test_choose:sharing_none", "max_shared_tokens: expected a number of tokens, got 'all'"),
        ("test_choose:capable", "backend capable: capabilities: expected a set of names, got 'ar'"),
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


def test_capabilities(tiny_bundle: Path) -> None:
    backend = engines.load(tiny_bundle).backend
    assert capabilities_of(backend) == set(CAPABILITIES)
    some = SimpleNamespace(name="some", capabilities={"ar", "guidance"})
    assert capabilities_of(some) == {"ar", "guidance"}
    with pytest.raises(engines.BackendError, match=r"backend odd: capabilities: expected some of .*, got fly"):
        capabilities_of(SimpleNamespace(name="odd", capabilities={"ar", "fly"}))

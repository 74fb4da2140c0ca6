"""Pickles that run code, or hold what is no weight: refused in one line, and nothing is run."""

import argparse
import collections
import functools
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from mulo_sd.reference.checkpoints.stand_ins import STAND_INS, Arguments, NumberType, StandIn, number
from tests.reference.checkpoints.refusals import refusal


class Calls:
    """An object whose pickle calls something when it is read."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.function, self.arguments


class Config:
    """A class of somebody's own training code."""


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_runs_code_is_refused_and_does_not_run(is_zip: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for function, arguments in (
        (os.system, (f"touch {mark}",)),
        (os.mkdir, (str(mark),)),
        (eval, (f"open({str(mark)!r}, 'w')",)),
        (exec, (f"open({str(mark)!r}, 'w')",)),
        (open, (str(mark), "w")),
        (print, ("it ran",)),
        (pickle.loads, (pickle.dumps(Calls(os.mkdir, str(mark))),)),
    ):
        content = {"model": {"a": torch.zeros(1)}, "args": argparse.Namespace(a=Calls(function, *arguments))}
        torch.save(content, tmp_path / "code.pt", _use_new_zipfile_serialization=is_zip)
        told = refusal(tmp_path / "code.pt")
        assert "got a pickle that would run code (" in told
        assert function.__name__ in told
        assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Config(), "Config"),
        (functools.partial(max, 1), "functools.partial"),
        (collections.ChainMap({}), "collections.ChainMap"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (len, "len"),
    ],
)
def test_what_is_merely_unknown_is_not_said_to_run_code(value: object, name: str, tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "args": value}, tmp_path / "a.pt")
    told = refusal(tmp_path / "a.pt")
    assert "got an object of a type that is not loaded: " in told
    assert name in told
    assert "code" not in told.replace(str(tmp_path), "")
    assert "save the state_dict() alone" in told


def test_stand_ins_call_nothing(tmp_path: Path) -> None:
    """A pickle may call the stand-ins with anything: a malicious one gets inert objects and plain numbers."""
    assert all(issubclass(made, StandIn) if isinstance(made, type) else callable(made) for made, _ in STAND_INS)
    for made, name in STAND_INS:
        for arguments in ((), ("a",), (1, 2, 3), ({"a": 1},), (b"\xff" * 9, b"")):
            found = made(*arguments)
            assert isinstance(found, StandIn | dict | int | float), name
    kind = NumberType("i8", False, True)
    assert number(kind, struct.pack("<q", -5)) == -5
    for code, content in (("i8", b"1234"), ("O8", b"12345678"), ("V1000000000000", b""), ("U5", b"a" * 20), (7, b"")):
        assert isinstance(number(NumberType(code), content), StandIn)
    assert isinstance(number("i8", struct.pack("<q", -5)), StandIn)
    kind.__setstate__((3, ">", None, None, None, -1, -1, 0))
    assert isinstance(number(kind, struct.pack(">q", -5)), StandIn)
    namespace = Arguments()
    namespace.__setstate__({"n_head": 3, 5: 4, "__class__": int})
    namespace.__setstate__(["no mapping"])
    assert str(type(namespace)) == str(Arguments)
    assert namespace.values["n_head"] == 3

"""What stands for harmless objects that training code saves beside its weights; no code of theirs is imported or run.

torch.load(weights_only=True) looks a type up by its name among those that it was given. Here each of a list of names
gets a stand-in: a class of ours that takes whatever its pickle gives it, and keeps nothing of it but plain values.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

# An array of one plain number, as numpy writes its type: b1, i8, f4.
NUMBER_TYPE = re.compile(r"b1|[iu][1248]|f[248]")


class StandIn:
    """An object of which nothing is kept."""

    def __new__(cls, *_arguments: object) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        """Take what the object was made from, and drop it."""

    def __setstate__(self, state: object) -> None:
        """Take what the object held, and drop it."""


class Arguments(StandIn):
    """An argparse.Namespace or alike: its values by name."""

    values: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: object) -> None:
        """Keep what has a name."""
        if isinstance(state, dict):
            self.values = {name: value for name, value in state.items() if isinstance(name, str)}


class NumberType(StandIn):
    """A numpy.dtype: its code."""

    def __init__(self, code: object = "", *_arguments: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Take the order of bytes; of numbers in another order than nearly all machines have, nothing is kept."""
        if isinstance(state, tuple) and ">" in state[1:2]:
            self.code = ""


def number(kind: object = None, content: object = b"", *_arguments: object) -> object:
    """Return the plain number that a numpy scalar is, or a stand-in for a scalar of another kind."""
    code = getattr(kind, "code", "")
    if not isinstance(code, str) or not isinstance(content, bytes) or not NUMBER_TYPE.fullmatch(code):
        return StandIn()
    made = np.dtype(f"<{code}")
    return np.frombuffer(content, dtype=made)[0].item() if len(content) == made.itemsize else StandIn()


def empty_array(*_arguments: object) -> StandIn:
    """Return a stand-in for an array, into which its numbers are put."""
    return StandIn()


def empty_mapping(*_arguments: object) -> dict[Any, Any]:
    """Return the mapping that a defaultdict becomes."""
    return {}


_NOTHING_KEPT = (
    *(
        f"pathlib.{name}"
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *(f"pathlib._local.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "frozenset", "int", "list", "str", "tuple")),
    "typing.Any",
    "numpy.ndarray",
    # The settings of training that OmegaConf holds.
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "omegaconf.base.SCMode"),
    *(f"omegaconf.nodes.{name}Node" for name in ("Any", "Boolean", "Bytes", "Float", "Integer", "Path", "String")),
)
# (What stands for it, the name in the pickle), as torch.serialization.safe_globals takes them.
STAND_INS: list[tuple[Callable[..., Any], str]] = [
    *((StandIn, name) for name in _NOTHING_KEPT),
    (Arguments, "argparse.Namespace"),
    (Arguments, "types.SimpleNamespace"),
    (empty_mapping, "collections.defaultdict"),
    (NumberType, "numpy.dtype"),
    *((number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((empty_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]

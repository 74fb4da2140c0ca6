"""Mutations of files and texts: of bytes, and of the values inside JSON."""

import json
from copy import deepcopy
from typing import Any

import hypothesis.strategies as st

# What parsers stumble over: edges of integers and floats, empty and large things, other types.
STRANGE: tuple[Any, ...] = (
    *(0, -1, 1, 2**20, 2**31, 2**63, 2**64, -(2**63), 10**30),
    *(0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "../../etc/passwd", "a\nb", "\x00", "\ud800", "9" * 500, "é" * 40),
    *(None, True, [], {}, [[]], {"": None}, [0] * 100),
)


@st.composite
def mutated_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some flipped, cut out, repeated or put in; now and then anything at all."""
    if draw(st.integers(0, 15)) == 15:
        return draw(st.binary(max_size=64))
    mutated = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(mutated) - 1)))
        length = draw(st.sampled_from((1, 2, 4, 8, 64, 1024)))
        match draw(st.sampled_from(("flip", "set", "cut", "end", "repeat", "insert"))):
            case "flip" if mutated:
                mutated[start] ^= 1 << draw(st.integers(0, 7))
            case "set":
                mutated[start : start + length] = draw(st.sampled_from((b"\x00", b"\xff", b"\x7f"))) * length
            case "cut":
                del mutated[start : start + length]
            case "end":
                del mutated[start:]
            case "repeat":
                mutated[start:start] = mutated[start : start + length] * 3
            case _:
                mutated[start:start] = draw(st.binary(min_size=1, max_size=16))
    return bytes(mutated)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    paths = [at] if at else []
    if isinstance(value, dict):
        for key, item in value.items():
            paths += _places(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:4]):  # a list of codes need not be mutated at each
            paths += _places(item, (*at, index))
    return paths


@st.composite
def mutated_json(draw: st.DrawFn, content: Any) -> Any:
    """A value of which one to three parts are something else, missing, or there under another name."""
    changed = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(changed)
        if not places:
            return deepcopy(draw(st.sampled_from(STRANGE)))
        *path, last = draw(st.sampled_from(places))
        parent = changed
        for step in path:
            parent = parent[step]
        match draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename"))):
            case "remove":
                del parent[last]
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(("", "extra", "schema_version")))] = parent.pop(last)
            case _:
                parent[last] = deepcopy(draw(st.sampled_from(STRANGE)))  # the next change may go into it
    return changed


@st.composite
def json_files(draw: st.DrawFn, content: Any) -> bytes:
    """Files of JSON that is wrong in its values or in its bytes."""
    if draw(st.booleans()):
        return draw(mutated_bytes(json.dumps(content).encode()))
    return json.dumps(draw(mutated_json(content))).encode("utf-8", "surrogatepass")

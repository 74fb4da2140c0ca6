"""What a vector is: a stage's inputs and the answers that are right."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Field(NamedTuple):
    """An array of a stage: its shape in words of the rules, and what it holds."""

    shape: str
    meaning: str


class Output(NamedTuple):
    """An answer, and how it is compared: exactly where `tolerance` is None.

    Attributes:
        shape: In words of the rules.
        meaning: What it holds.
        tolerance: Largest absolute difference of a number; infinities must be the same.
        margin: Name of the array that tells how clear each decision is; below `min_margin` any answer is right.
        min_margin: In the margin's unit.
    """

    shape: str
    meaning: str
    tolerance: float | None = None
    margin: str | None = None
    min_margin: float = 0.0


@dataclass(frozen=True)
class Vector:
    """One case.

    Attributes:
        inputs: What the stage is given.
        answers: What is right, by output; margins among them.
        note: What the case is there for.
    """

    inputs: dict[str, NDArray[Any]]
    answers: dict[str, NDArray[Any]]
    note: str


@dataclass(frozen=True)
class Stage:
    """A step of a decode.

    Attributes:
        name: For folders and messages.
        rules: What it implements.
        inputs: By name.
        outputs: By name.
        vectors: Makes the cases.
        needs_models: Whether the answers depend on the models of a bundle.
    """

    name: str
    rules: tuple[str, ...]
    inputs: Mapping[str, Field]
    outputs: Mapping[str, Output]
    vectors: Callable[[np.random.Generator], Iterator[Vector]]
    needs_models: bool = False

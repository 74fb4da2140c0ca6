"""What a backend answers, held against what it has to be: one from outside may answer anything.

Without this a wrong shape or type would show passes later, or never. Every answer is checked: types and shapes cost
0.5 us a pass, which takes 500 us and more.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, BackendError, Tensors

Shape = tuple[int, ...]


def checked(backend: Backend, graph: str, name: str, value: object, dtype: type[np.generic], shape: Shape) -> Any:
    """Return an output of a graph that has the type and the shape that it has to have.

    Raises:
        BackendError: it has another.
    """
    if isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == shape:
        return value
    if isinstance(value, np.ndarray):
        got = f"{value.dtype} {list(value.shape)}"
    else:
        got = "none" if value is None else type(value).__name__
    expected = f"an array of {np.dtype(dtype)} {list(shape)}"
    raise BackendError(f"backend {backend.name}: graph {graph}: {name}: expected {expected}, got {got}")


def run(backend: Backend, graph: str, inputs: Tensors, **outputs: tuple[type[np.generic], Shape]) -> list[Any]:
    """Run a stateless graph; return some of its outputs.

    Args:
        backend: Runs it.
        graph: Its name.
        inputs: By name.
        outputs: Type and shape of each that is wanted.

    Raises:
        BackendError: an output is missing, or has another type or shape.
    """
    answered = backend.run(graph, inputs)
    if not isinstance(answered, Mapping):
        raise BackendError(
            f"backend {backend.name}: graph {graph}: expected a dict of outputs, got {type(answered).__name__}"
        )
    return [checked(backend, graph, name, answered.get(name), *expected) for name, expected in outputs.items()]


def run_for_tokens(
    backend: Backend, graph: str, inputs: Tensors, name: str, shape: Shape, codes: int
) -> NDArray[np.int64]:
    """Run a stateless graph whose output is tokens, 0..codes - 1.

    Raises:
        BackendError: they are not, or of another shape.
    """
    tokens: NDArray[np.int64] = run(backend, graph, inputs, **{name: (np.int64, shape)})[0]
    check_tokens(backend, graph, name, tokens, codes)
    return tokens


def check_tokens(
    backend: Backend, graph: str, name: str, tokens: NDArray[np.int64], codes: int, least: int = 0
) -> None:
    """Check that tokens are codes of the codebook.

    Args:
        backend: Whose they are.
        graph: That they come from.
        name: Of the output.
        tokens: Of any shape.
        codes: How many there are.
        least: -1 where that stands for no code at all.

    Raises:
        BackendError: some are not.
    """
    if tokens.size and not least <= tokens.min() <= tokens.max() < codes:
        got = f"{tokens.min()}..{tokens.max()}"
        raise BackendError(
            f"backend {backend.name}: graph {graph}: {name}: expected codes in 0..{codes - 1}, got {got}"
        )

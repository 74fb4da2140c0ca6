"""Local expansion and islands on whole arrays: the same cells as the reference's, in the same order."""

from typing import NamedTuple

import numpy as np
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulo_sd.engines.rules.grid import expand, islands
from mulo_sd.reference import grid as reference

Mask = NDArray[np.bool_]


class Window(NamedTuple):
    """Rejected cells, which lie inside the window's rows."""

    rejected: Mask
    first_row: int
    last_row: int


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Bool[H, W], of any density."""
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    cells = draw(st.sets(st.integers(0, height * width - 1)))
    mask = np.zeros(height * width, dtype=np.bool_)
    mask[list(cells)] = True
    return mask.reshape(height, width)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """A mask and rows of it."""
    rejected = draw(masks())
    first_row = draw(st.integers(0, len(rejected)))
    last_row = draw(st.integers(first_row, len(rejected)))
    rejected[:first_row] = False
    rejected[last_row:] = False
    return Window(rejected, first_row, last_row)


def radii_of(mask: Mask, seed: int, largest: int) -> NDArray[np.int64]:
    """Return a radius for every cell of a mask."""
    return np.random.default_rng(seed).integers(0, largest + 1, mask.shape)


@given(windows(), st.integers(0, 2**32 - 1), st.integers(0, 9))
@example(Window(np.array([[False, True], [True, False]]), 0, 2), 0, 1)
@settings(deadline=None, max_examples=300)
def test_expand_equals_the_reference(window: Window, seed: int, largest: int) -> None:
    """LOCAL-1, LOCAL-3: The same R_X, each cell by its own radius; R_T is left as it was."""
    rejected, first_row, last_row = window
    before, radii = rejected.copy(), radii_of(rejected, seed, largest)
    actual = expand(rejected, radii, first_row, last_row)
    expected = reference.expand(torch.from_numpy(before), torch.from_numpy(radii), first_row, last_row).numpy()
    event("nothing rejected" if not before.any() else "grows" if expected.sum() > before.sum() else "does not grow")
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(rejected, before)


@given(masks(), st.integers(0, 3))
@settings(deadline=None)
def test_expand_the_whole_grid(rejected: Mask, radius: int) -> None:
    """LOCAL-1: Without rows, the window is the grid."""
    radii = np.full(rejected.shape, radius)
    expected = reference.expand(torch.from_numpy(rejected), torch.from_numpy(radii)).numpy()
    np.testing.assert_array_equal(expand(rejected, radii), expected)


@given(masks())
@settings(deadline=None, max_examples=200)
def test_islands_equal_the_reference(mask: Mask) -> None:
    """LOCAL-2: The same islands, each ascending, in the order of their first positions."""
    expected = [island.tolist() for island in reference.islands(torch.from_numpy(mask))]
    event(f"{min(len(expected), 3)} islands, 3 for more")
    assert [island.tolist() for island in islands(mask)] == expected


def test_islands_touch_by_corners() -> None:
    """LOCAL-2: Islands are 8-connected."""
    mask = np.array([[True, False, False, True], [False, True, False, False], [False, False, False, True]])
    assert [island.tolist() for island in islands(mask)] == [[0, 5], [3], [11]]

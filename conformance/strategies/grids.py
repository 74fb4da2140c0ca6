"""Grids, masks of cells, and windows with rejected cells."""

from typing import NamedTuple

import hypothesis.strategies as st
import torch
from torch import Tensor


class Mask(NamedTuple):
    """Some cells of a grid, as raster positions."""

    height: int
    width: int
    cells: frozenset[int]

    @property
    def tensor(self) -> Tensor:
        """Bool[H, W]."""
        flat = torch.zeros(self.height * self.width, dtype=torch.bool)
        flat[sorted(self.cells)] = True
        return flat.reshape(self.height, self.width)


class Window(NamedTuple):
    """Rejected cells inside a window of whole rows, and the radius that grows them."""

    rejected: Mask
    first_row: int
    last_row: int
    radius: int

    @property
    def cells(self) -> range:
        """The window's raster positions."""
        return range(self.first_row * self.rejected.width, self.last_row * self.rejected.width)


@st.composite
def cells_of(draw: st.DrawFn, positions: range) -> frozenset[int]:
    """Subsets of the given positions: sparse, dense and of about half, each often."""
    if not positions:
        return frozenset()
    some = draw(st.sets(st.sampled_from(positions), max_size=6))
    match draw(st.sampled_from(("sparse", "dense", "half"))):
        case "sparse":
            return frozenset(some)
        case "dense":
            return frozenset(positions) - some
        case _:
            bits = draw(st.integers(0, 2 ** len(positions) - 1))
            return frozenset(position for index, position in enumerate(positions) if bits >> index & 1)


@st.composite
def masks(draw: st.DrawFn, largest: int = 7) -> Mask:
    """Masks on grids of 1 x 1 to largest x largest."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    return Mask(height, width, draw(cells_of(range(height * width))))


@st.composite
def windows(draw: st.DrawFn, largest: int = 7) -> Window:
    """Windows anywhere in a grid, now and then of no row at all."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    first_row = draw(st.integers(0, height))
    last_row = draw(st.integers(first_row, height))
    rejected = draw(cells_of(range(first_row * width, last_row * width)))
    return Window(Mask(height, width, rejected), first_row, last_row, draw(st.integers(0, largest + 1)))

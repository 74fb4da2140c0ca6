"""SCHED-1 and SCHED-2."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from mulo_sd.conformance.rules import oracles, resampling_laws
from mulo_sd.conformance.rules.branches import must_reach, reach
from mulo_sd.conformance.strategies.grids import Mask, masks
from mulo_sd.reference.schedule import steps

WINDOWS = st.integers(1, 8) | st.none()
WHOLE = Mask(3, 4, frozenset(range(12)))
APART = Mask(3, 5, frozenset({0, 1, 5, 3, 4, 9, 14}))


class TestSched2:
    """SCHED-2 Islands side by side.

    With islands, SCHED-1 applies inside each island by itself, so that islands advance at the same time; without, to R
    as a whole.
    """

    @must_reach("the window matters", "islands matter")
    @example(WHOLE, 1, 3)
    @example(APART, 2, 2)
    @given(masks(), st.integers(1, 8), st.integers(1, 8))
    def test_number_of_steps(self, mask: Mask, window: int, wider: int) -> None:
        """SCHED-1: A larger window never makes a schedule shorter. SCHED-2: Islands never make it longer."""
        count = {
            (size, by_island): len(steps(mask.tensor, size, by_island))
            for size in (window, window + wider, None)
            for by_island in (False, True)
        }
        for by_island in (False, True):
            assert count[window, by_island] <= count[window + wider, by_island] <= count[None, by_island]
            reach("the window matters", count[window, by_island] < count[window + wider, by_island])
        for size in (window, window + wider, None):
            assert count[size, True] <= count[size, False]
            reach("islands matter", count[size, True] < count[size, False])


class TestSched1:
    """SCHED-1 Waits and windows.

    Cell (i, j) of R waits for the cells of R to its left in row i, and for the cells of R in rows above whose column is
    < j + window, where window >= 1. Every cell runs in the earliest step that its waits allow. An infinite window is
    raster order, one cell a step.
    """

    @must_reach("several cells in a step", "a cell waits for the row above", "islands advance at the same time")
    @example(WHOLE, 2, False)
    @example(APART, 2, True)
    @given(masks(), WINDOWS, st.booleans())
    def test_earliest_steps(self, mask: Mask, window: int | None, by_island: bool) -> None:
        """A cell waits for the cells to its left, and in rows above for those whose column is < j + window.

        Every cell runs in the earliest step that its waits allow. SCHED-2: With islands, cells wait inside theirs only.
        """
        resampling_laws.cells_run_in_their_earliest_step(mask, window, by_island, steps)

    @must_reach("two cells or more", "several cells in a step")
    @example(APART, 1, True)
    @given(masks(), WINDOWS, st.booleans())
    def test_each_cell_once(self, mask: Mask, window: int | None, by_island: bool) -> None:
        """A schedule decides every cell of the set exactly once, and no other; each step ascends."""
        listed = [step.tolist() for step in steps(mask.tensor, window, by_island)]
        assert sorted(cell for step in listed for cell in step) == sorted(mask.cells)
        assert all(step == sorted(step) and step for step in listed)
        reach("two cells or more", len(mask.cells) > 1)
        reach("several cells in a step", any(len(step) > 1 for step in listed))

    @must_reach("the window is wider than the grid", "the window is narrow")
    @example(3, 4, 2)
    @example(2, 2, 5)
    @given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9))
    def test_whole_grid(self, height: int, width: int, window: int) -> None:
        """The whole grid takes W + (H - 1) * min(window, W) steps."""
        mask = Mask(height, width, frozenset(range(height * width)))
        assert len(steps(mask.tensor, window, by_island=False)) == width + (height - 1) * min(window, width)
        reach("the window is wider than the grid", window > width)
        reach("the window is narrow", window < width and height > 1)

    @must_reach("several rows", "a window as wide as the grid does the same")
    @example(WHOLE, False)
    @example(APART, True)
    @given(masks(), st.booleans())
    def test_infinite_window(self, mask: Mask, by_island: bool) -> None:
        """An infinite window is raster order, one cell a step; with islands, one cell a step of each."""
        whole = steps(mask.tensor, None, by_island)
        if not by_island:
            assert [step.tolist() for step in whole] == [[cell] for cell in sorted(mask.cells)]
        else:
            islands = oracles.components(set(mask.cells), mask.width)
            longest = max(map(len, islands), default=0)
            expected = [sorted(island[at] for island in islands if at < len(island)) for at in range(longest)]
            assert [step.tolist() for step in whole] == expected
        reach("several rows", len({cell // mask.width for cell in mask.cells}) > 1)
        wide = steps(mask.tensor, mask.width, by_island)
        assert [step.tolist() for step in wide] == [step.tolist() for step in whole]
        reach("a window as wide as the grid does the same", len(whole) > 1)

    @given(masks(), st.integers(-3, 0), st.booleans())
    def test_windows_from_1_on(self, mask: Mask, window: int, by_island: bool) -> None:
        """A window is at least 1."""
        with pytest.raises(ValueError, match="window: expected at least 1"):
            steps(mask.tensor, window, by_island)

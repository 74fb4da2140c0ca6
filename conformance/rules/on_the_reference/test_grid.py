"""GRID-1, LOCAL-1 and LOCAL-2."""

from hypothesis import example, given

from mulo_sd.conformance.rules import function_laws, oracles
from mulo_sd.conformance.rules.branches import must_reach, reach
from mulo_sd.conformance.strategies.grids import Mask, Window, masks, windows
from mulo_sd.conformance.strategies.toys import Toy, build, toys
from mulo_sd.reference.grid import expand, islands, raster_positions


class TestGrid1:
    """GRID-1 Raster positions and scale ratios.

    A grid has H rows and W columns. The raster position of a cell is u = row * W + column. The target's grid has r
    times as many rows and columns as its drafter's; r is the `scale_ratio`. So has each drafter's, compared with that
    of the drafter after it.
    """

    @must_reach("no cell", "several rows")
    @example(Mask(2, 3, frozenset()))
    @example(Mask(2, 3, frozenset({0, 2, 3, 5})))
    @given(masks())
    def test_raster_positions(self, mask: Mask) -> None:
        """A grid has H rows and W columns; the raster position of a cell is u = row * W + column."""
        function_laws.cells_are_in_raster_order(mask, raster_positions)

    @must_reach("enlarged")
    @example(Toy(2, 3, 2, 1, 1, 1.5, 0))
    @given(toys())
    def test_scale_ratio(self, toy: Toy) -> None:
        """The target's grid is `scale_ratio` times the drafter's, in both directions."""
        models = build(toy).models
        target, drafter = models.target.config, models.drafters[0].config
        assert models.scale_ratio(0, 1) == toy.scale_ratio
        assert target.grid_height == toy.scale_ratio * drafter.grid_height
        assert target.grid_width == toy.scale_ratio * drafter.grid_width
        reach("enlarged", toy.scale_ratio > 1)


class TestLocal1:
    """LOCAL-1 Local expansion.

    R_T is the set of rejected positions of the window and t0 its first. R_X, what is resampled, is every position u >=
    t0 of the window that lies within `radius` rows and `radius` columns of some rejected one. If R_T is empty, so is
    R_X. Everything else keeps its draft token.
    """

    @must_reach(
        "nothing is rejected",
        "a neighbour is added",
        "a neighbour before t0 is left out",
        "a neighbour outside the window is left out",
    )
    @example(Window(Mask(3, 3, frozenset()), 1, 2, 1))
    @example(Window(Mask(4, 4, frozenset({5, 10})), 1, 3, 1))
    @given(windows())
    def test_local_expansion(self, window: Window) -> None:
        """R_X holds the window's cells within `radius` rows and columns of a rejected cell, none before t0.

        t0 is the first rejected cell; where nothing is rejected, R_X is empty.
        """
        function_laws.rejections_reach_their_neighbourhood(window, expand)

    @must_reach("the window begins anew at its first row", "several rejections")
    @example(Window(Mask(3, 3, frozenset({3, 7})), 1, 3, 1))
    @given(windows())
    def test_local_expansion_between_its_bounds(self, window: Window) -> None:
        """R_X lies between the rejected cells themselves and everything from t0 on."""
        mask = window.rejected
        result = expand(mask.tensor, window.radius, window.first_row, window.last_row)
        cells = set(raster_positions(result).tolist())
        assert mask.cells <= cells
        assert cells <= {u for u in window.cells if u >= min(mask.cells, default=window.cells.stop)}
        reach("the window begins anew at its first row", window.first_row > 0 and bool(cells))
        reach("several rejections", len(mask.cells) > 1)


class TestLocal2:
    """LOCAL-2 Islands.

    The islands of R_X are its 8-connected components on the grid; the end of a row does not touch the start of the
    next. They are ordered by their first position.
    """

    @must_reach(
        "two islands or more",
        "an island of several cells",
        "a row's end and the next row's start are apart",
        "two cells touch by a corner only",
    )
    @example(Mask(3, 4, frozenset({3, 4})))
    @example(Mask(3, 3, frozenset({1, 3, 8})))
    @given(masks())
    def test_islands(self, mask: Mask) -> None:
        """Islands are the 8-connected components of R_X on the grid, ordered by their first position.

        The end of a row does not touch the start of the next.
        """
        function_laws.islands_are_components(mask, islands)

    @must_reach("two islands or more")
    @example(Mask(1, 3, frozenset({0, 2})))
    @given(masks())
    def test_islands_partition(self, mask: Mask) -> None:
        """Every cell of R_X lies in exactly one island, and no two islands touch."""
        parts = [island.tolist() for island in islands(mask.tensor)]
        assert sorted(u for island in parts for u in island) == sorted(mask.cells)
        for index, island in enumerate(parts):
            others = {u for other in parts[:index] for u in other}
            assert not any(function_laws.near(u, other, mask.width, 1) for u in island for other in others)
            assert len(oracles.components(set(island), mask.width)) == 1
        reach("two islands or more", len(parts) > 1)

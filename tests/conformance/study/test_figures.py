"""A section's picture: nothing lies over anything else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from matplotlib import pyplot

from mulo_sd.conformance.study.figures import draw_section
from mulo_sd.conformance.study.rows import Row
from mulo_sd.conformance.study.summary import Results, lines_of_section
from mulo_sd.conformance.study.variants import variants_of


@pytest.mark.parametrize("count", [2, 16, 38])
def test_the_legend_lies_beside_the_axes(
    count: int,
    make_rows: Callable[..., list[Row]],
    make_results: Callable[[list[Row], dict[str, float]], Results],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many lines it has, and however long their names are."""
    rows = make_rows("AR", [True] * 6) + make_rows("default", [True] * 6)
    ar, default = lines_of_section(variants_of(["controls"]), make_results(rows, {}))
    others = [replace(default, variant=f"AR by sweeps, width {number}, first guess opening") for number in range(count)]
    monkeypatch.setattr(pyplot, "close", lambda _figure: None)
    assert draw_section([ar, *others[1:]], "the demo").startswith(b"\x89PNG")
    figure = pyplot.gcf()
    monkeypatch.undo()
    figure.canvas.draw()  # it was drawn in another resolution
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.x1
    assert max(axes.get_window_extent().x1 for axes in figure.axes) < box.x0
    pyplot.close(figure)

"""Claims are those of the world: the pictograms have figures to reach of their own, and headings that say so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd.conformance.study.claims import CLAIMS, claims_of
from mulo_sd.conformance.study.goals import GOALS, Margin
from mulo_sd.conformance.study.report import write_report
from mulo_sd.conformance.study.rows import Row
from mulo_sd.conformance.study.statistics import Estimate
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.study.sweep_claims import ar_by_sweeps
from mulo_sd.conformance.study.sweeps import FEW_PASSES, NO_LIMIT
from mulo_sd.conformance.study.variants import variants_of
from mulo_sd.conformance.worlds.choice import NAMES
from mulo_sd.conformance.worlds.pictograms import PictogramsWorld

MakeRows = Callable[..., list[Row]]
MakeResults = Callable[..., Results]
PICTOGRAMS = PictogramsWorld()
COUNT = 200
SWEEPS = len(CLAIMS)  # the number of the first claim about sweeps


def held(falsely: int) -> list[bool]:
    return [number >= falsely for number in range(COUNT)]


def rows_of(make_rows: MakeRows, passes: int, below: int, width_64: int = 256) -> list[Row]:
    """Return AR's rows and those that are claimed to be good, in so many passes and so many prompts worse."""
    ar, tasks = {"nfe_target": 1024, "nfe_drafter": 0}, {"tasks": PICTOGRAMS.tasks}
    rows = make_rows("AR", held(10), **ar, **tasks)
    rows += make_rows("default", held(10 + below), nfe_target=passes - 20, nfe_drafter=20, **tasks)
    for name in (NO_LIMIT, FEW_PASSES):
        rows += make_rows(name, held(10 + below), "sweeps", nfe_target=passes - 20, nfe_drafter=20, **tasks)
    for width, by_width in ((16, 900), (64, width_64), (256, 700)):
        rows += make_rows(ar_by_sweeps(width), held(10), "exact", nfe_target=by_width, nfe_drafter=0, **tasks)
    return rows


def verdicts(rows: list[Row], make_results: MakeResults) -> tuple[str, str, str]:
    """Return those of the default, of AR by sweeps and of sweeps without a limit."""
    found = claims_of(make_results(rows, {}, PICTOGRAMS))
    return found[0].verdict, found[SWEEPS].verdict, found[SWEEPS + 1].verdict


def test_every_world_has_figures_to_reach() -> None:
    assert set(GOALS) == set(NAMES)


def test_the_pictograms_figures(make_rows: MakeRows, make_results: MakeResults) -> None:
    """Two points as measured: of 200 prompts a lower bound would be some points below."""
    rows = rows_of(make_rows, passes=85, below=4)
    assert verdicts(rows, make_results) == ("holds", "holds", "holds")
    found = claims_of(make_results(rows, {}, PICTOGRAMS))
    assert found[0].text == (
        "The default takes at most 85.3 passes in all, and scores no more than 2 points below AR (as measured)"
    )
    assert found[SWEEPS].text == "AR by sweeps draws AR's very tokens, in at most 256 passes at width 64"
    assert found[0].facts == (
        "200 prompts",
        "target passes: 65.0",  # nothing is claimed of them here
        "total passes: 85.0: holds",
        "rejected: 10.0%",
        "score difference to AR: -2.0 points (-4.3 to +0.4): holds",
    )


@pytest.mark.parametrize(
    ("passes", "below", "width_64", "expected"),
    [
        (86, 0, 256, ("does not hold", "holds", "does not hold")),
        (85, 5, 256, ("does not hold", "holds", "does not hold")),
        (85, 0, 257, ("holds", "does not hold", "holds")),
    ],
)
def test_what_just_misses_them(
    passes: int,
    below: int,
    width_64: int,
    expected: tuple[str, str, str],
    make_rows: MakeRows,
    make_results: MakeResults,
) -> None:
    assert verdicts(rows_of(make_rows, passes, below, width_64), make_results) == expected


@pytest.mark.parametrize(
    ("by", "difference", "allowed"),
    [
        ("as measured", Estimate(-0.02, -0.05, 0.01), True),
        ("as measured", Estimate(-0.0201, -0.021, 0.0), False),
        ("as measured", Estimate(float("nan"), 0.0, 0.0), False),
        ("lower 95% bound", Estimate(0.0, -0.02, 0.02), True),
        ("lower 95% bound", Estimate(0.0, -0.0201, 0.02), False),
    ],
)
def test_a_margin(by: object, difference: Estimate, allowed: bool) -> None:
    assert Margin(0.02, by).allows(difference) is allowed  # type: ignore[arg-type]


def test_the_report_names_its_world(tmp_path: Path, make_rows: MakeRows, make_results: MakeResults) -> None:
    results = make_results(rows_of(make_rows, 85, 0), {}, PICTOGRAMS)
    write_report(variants_of(["controls"]), results, [], tmp_path)
    tables = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert tables.startswith("# Tables of the pictograms\n\nIn brackets: ")
    assert "| variant | single_object | two_object | counting | colors | position |\n" in tables
    assert (tmp_path / "claims.md").read_text(encoding="utf-8").startswith("# Claims on the pictograms\n")
    columns = (tmp_path / "results.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")
    assert columns[-6:] == [*(f"score_{task}" for task in PICTOGRAMS.tasks), "equal_images"]

"""The lines and tables say what the rows say."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd.conformance.bench.spread import Spread
from mulo_sd.conformance.compare import tables
from mulo_sd.conformance.compare.cost import Cost
from mulo_sd.conformance.compare.entries import ENTRIES
from mulo_sd.conformance.compare.lines import CompareLine, cheapest, compare_lines, complete, fastest, lossy_by_more
from mulo_sd.conformance.compare.report import Report, numbers_text, page_text, write_report
from mulo_sd.conformance.study.rows import Row
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.engines.prompts.vocabulary import TASKS

MakeRows = Callable[..., list[Row]]
MakeResults = Callable[[list[Row]], Results]
LAYERS = {"0": 5, "1": 5, "2": 5, "9": 1, "10": 2}


def cost(over_ar: float) -> Cost:
    return Cost(Spread(1.0, 0.9, 1.1, 6), Spread(over_ar, over_ar, over_ar, 6), 2_000_000, 3_000_000, "ort", "CPU")


def lines_of_all(results: Results, costs: dict[str, Cost] | None = None, per_task: int = 2) -> list[CompareLine]:
    groups, _ = complete(ENTRIES, results, per_task, 6)
    return compare_lines(ENTRIES, groups, results, costs or {}, LAYERS)


def ar(make_rows: MakeRows, count: int = 12) -> list[Row]:
    return make_rows("AR", [True] * count, nfe_target=6, nfe_drafter=0, nfe_by_model={"0": 6})


def test_a_line_counts_tokens_and_passes(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows) + make_rows("sjd: window 16", [True] * 12, nfe_target=3, nfe_drafter=0, fed_target=30)
    base, line = lines_of_all(make_results(rows))
    assert (base.entry.name, base.tokens_a_pass) == ("ar", 1.0)
    assert line.tokens_a_pass == 2.0
    assert line.fed_a_pass == 10.0
    assert line.figures.nfe == 3
    assert line.by_model == {"0": 3.0, "1": 0.0}
    assert line.weighed == 3.0
    assert line.figures.images == 12


def test_a_mean_over_images_is_one_of_cells_by_passes(make_rows: MakeRows, make_results: MakeResults) -> None:
    """Not of the images' own ratios, in which those of few passes would weigh more."""
    rows = ar(make_rows) + make_rows("sjd: window 16", [True] * 12)
    rows[12:18] = make_rows("sjd: window 16", [True] * 6, nfe_target=6)
    assert lines_of_all(make_results(rows))[1].tokens_a_pass == pytest.approx(6 / 4)


def test_rows_of_earlier_versions_have_no_passes_by_model(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows) + make_rows("sjd: window 16", [True] * 12)
    rows[-1] = make_rows("sjd: window 16", [True] * 12, nfe_by_model=None, fed_target=None)[-1]
    line = lines_of_all(make_results(rows))[1]
    assert (line.by_model, line.fed_a_pass, line.weighed) == (None, None, 3)


def test_a_heads_pass_weighs_as_much_as_its_layers(make_rows: MakeRows, make_results: MakeResults) -> None:
    eagle = make_rows("eagle: 4 tokens", [True] * 12, nfe_target=2, nfe_drafter=8, nfe_by_model={"0": 2, "9": 8})
    block = make_rows("specdec: block drafter", [True] * 12, nfe_by_model={"0": 2, "10": 1})
    _, first, second = lines_of_all(make_results(ar(make_rows) + eagle + block))
    assert first.figures.nfe == 10
    assert first.weighed == pytest.approx(2 + 8 / 5)
    assert second.weighed == pytest.approx(2 + 2 / 5)


def test_a_row_that_lacks_prompts_stands_in_no_table(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows) + make_rows("sjd: window 16", [True] * 11)
    groups, short = complete(ENTRIES, make_results(rows), 2, 6)
    assert set(groups) == {"ar"}
    assert short["sjd: window 16"] == 11
    assert set(short) == {entry.name for entry in ENTRIES} - {"ar"}


def test_ar_by_sweeps_stands_in_for_ar(make_rows: MakeRows, make_results: MakeResults) -> None:
    """Its images are AR's, so that scores have a base where AR was not drawn one token a pass."""
    rows = make_rows("ar-sweeps: width 16", [True] * 12) + make_rows("sjd: window 16", [True] * 9 + [False] * 3)
    lines = lines_of_all(make_results(rows))
    assert [line.entry.name for line in lines] == ["ar-sweeps: width 16", "sjd: window 16"]
    difference = lines[1].figures.score_difference
    assert difference is not None
    assert difference.value == -0.25


def several(make_rows: MakeRows, make_results: MakeResults) -> list[CompareLine]:
    """Return lines of AR, two rows of a method that keeps the score, one that just does, and one that does not."""
    count = 12 * 17  # 2 of these prompts are a point less
    rows = ar(make_rows, count)
    rows += make_rows("zipar: window 4", [True] * count, nfe_target=5)
    rows += make_rows("zipar: window 3", [True] * (count - 2) + [False] * 2, nfe_target=3)
    rows += make_rows("sjd: window 16", [True] * (count - 3) + [False] * 3, nfe_target=1)
    rows += make_rows("sjd: window 32", [True] * (count - 9) + [False] * 9, nfe_target=1)
    costs = {"AR": cost(1.0), "zipar: window 4": cost(4.0), "zipar: window 3": cost(3.0), "sjd: window 16": cost(9.0)}
    return lines_of_all(make_results(rows), costs, per_task=count // 6)


def test_the_tables_are_of_rows_within_a_point_of_ar(make_rows: MakeRows, make_results: MakeResults) -> None:
    lines = several(make_rows, make_results)
    assert [line.entry.name for line in cheapest(lines)] == ["zipar: window 3", "ar"]
    assert [line.entry.name for line in fastest(lines)] == ["zipar: window 4", "ar"]
    assert [line.entry.name for line in lossy_by_more(lines)] == ["sjd: window 16"]


def test_tables_in_markdown(make_rows: MakeRows, make_results: MakeResults) -> None:
    lines = several(make_rows, make_results)
    passes, seconds = tables.by_passes(lines), tables.by_seconds(lines)
    assert passes.index("| zipar: window 3 | found | no | 4.0 | 4.0 | 3.0 | 1.0 | 2.00 |") < passes.index("| ar |")
    assert "No row of these methods keeps the score" in passes
    assert "| sjd: window 16 | published | AR's distribution | 2.0 | 2.0 | 1.0 |" in passes
    assert "CPU, ort." in seconds
    assert seconds.index("| zipar: window 4 | found | no | 1.00 | 4.00 (4.00-4.00) | 2.0 | 3 |") < seconds.index(
        "| ar |"
    )
    assert "window 3" not in seconds
    assert all(line.entry.name in tables.every_row(lines) for line in lines)
    assert "| ar | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in tables.by_task(lines, TASKS)
    assert "Nothing was timed" in tables.by_seconds(lines_of_all(make_results(ar(make_rows))))


def test_the_table_of_methods_says_their_parts() -> None:
    text = tables.table_of_methods()
    assert "| `gsd` | GSD | `gsd` | sweep / grouped / prefix | no |" in text
    assert "| `coarse-grouped` | coarse draft, grouped acceptance | `parallel` | coarse / grouped / local |" in text


def test_the_report(tmp_path: Path, make_rows: MakeRows, make_results: MakeResults) -> None:
    lines = several(make_rows, make_results)
    written = write_report(
        Report(DemoWorld(), lines, lines, {"eagle: 4 tokens": 3}, ["pjd: this bundle has none"]), tmp_path
    )
    assert {path.name for path in written} == {"comparison.md", "comparison.csv", "comparison.png"}
    page = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert page.count("### By passes") == 2
    assert "- eagle: 4 tokens: 3\n" in page
    assert "- pjd: this bundle has none\n" in page
    read = {line["row"]: line for line in csv.DictReader(io.StringIO(numbers_text(lines, TASKS)))}
    assert float(read["zipar: window 3"]["nfe"]) == 4.0
    assert read["zipar: window 3"]["extra_weights_bytes"] == "2000000"
    assert read["sjd: window 32"]["timed_seconds"] == ""
    assert read["zipar: window 4"]["nfe_drafter_1"] == "1.0"
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    report = Report(DemoWorld(), [], [], {"ar": 3}, [])
    assert [path.name for path in write_report(report, tmp_path)] == ["comparison.md"]
    assert "- ar: 3\n" in page_text(report)
    assert page_text(report).startswith("# Tables of the comparison on the demo\n\nIn brackets")

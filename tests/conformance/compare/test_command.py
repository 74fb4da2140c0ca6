"""The command: wrong arguments end it with one line; a row is drawn, reported, and measured on the engine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.conformance.bench.spread import Spread
from mulo_sd.conformance.compare.cost import COSTS_NAME, Cost, extra_weights, measure_costs, read_costs, write_costs
from mulo_sd.conformance.compare.entries import CONTROLS, ENTRIES
from mulo_sd.conformance.study.rows import ROWS_NAME, Row, RowLog, StudyError, pack_tokens, read_rows
from mulo_sd.conformance.study.variant import identity
from mulo_sd.conformance.worlds.demo import DemoWorld
from tests.in_process import InProcess

MakeRows = Callable[..., list[Row]]


COMMAND = "mulo_sd.conformance.compare.__main__"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--per-task", "0"], "--per-task: expected 1..1000, got 0"),
        (["--workers", "0"], "--workers: expected 1..256, got 0"),
        (["--rounds", "0"], "--rounds: expected 1..100, got 0"),
        (["--row", "nonsense"], "--row: expected some of ar; "),
        (["--methods", "nonsense"], "--methods: expected some of ar, "),
        (["--time", "--report-only"], "--time: expected neither --report-only nor --confirm"),
        (["--bundle", "no-such-bundle"], "no-such-bundle"),
        (["--world", "nonsense"], "argument --world: invalid choice: 'nonsense'"),
    ],
)
def test_bad_arguments(in_process: InProcess, arguments: list[str], expected: str, tmp_path: Path) -> None:
    done = in_process.run(COMMAND, "--out", str(tmp_path / "compare"), *arguments)
    assert done.returncode == 2
    error = done.stderr[done.stderr.index("error: ") :]
    assert expected in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "compare").exists()


def test_a_folder_of_somebody_else_is_left_alone(in_process: InProcess, tmp_path: Path, minimal_bundle: Path) -> None:
    (tmp_path / "comparison.md").write_text("mine")
    done = in_process.run(COMMAND, "--out", str(tmp_path), "--bundle", str(minimal_bundle))
    assert done.returncode == 2
    assert "expected no files but a study's" in done.stderr
    assert (tmp_path / "comparison.md").read_text() == "mine"


def test_a_row_is_drawn_once(in_process: InProcess, tmp_path: Path, demo_bundle: Path, make_rows: MakeRows) -> None:
    """From the command line to the page; AR, the dearest and not looked at here, is there already."""
    name, pipeline = "mulo-sweeps: limits 4 and 6", engines.load(demo_bundle, threads=1)
    grid = pack_tokens(np.zeros((32, 32), dtype=np.int64))
    with RowLog(tmp_path) as log:
        for item in CONTROLS:
            for row in make_rows(identity(item, pipeline), [True] * 6, height=32, width=32, tokens=grid):
                log.add(row)
    arguments = ["--bundle", str(demo_bundle), "--out", str(tmp_path), "--per-task", "1", "--resamples", "10"]
    done = in_process.run(COMMAND, *arguments, "--workers", "1", "--row", name)
    assert done.returncode == 0
    assert f"| {name} | found | no |" in done.stdout
    drawn = [row for row in read_rows(tmp_path) if row.variant == name]
    assert len(drawn) == 6
    assert all(row.nfe_by_model and sum(row.nfe_by_model.values()) == row.nfe for row in drawn)
    assert all(row.fed_target and row.fed_target > row.height * row.width for row in drawn)
    content = (tmp_path / ROWS_NAME).read_bytes()
    assert in_process.run(COMMAND, *arguments, "--row", name, "--report-only").returncode == 0
    assert (tmp_path / ROWS_NAME).read_bytes() == content
    assert "- sjd: window 16: 0\n" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_costs_are_measured_beside_ar(tmp_path: Path, minimal_bundle: Path) -> None:
    """Random models suffice: what a row runs, and that a drafter's weights are counted, do not depend on them."""
    chosen = [entry for entry in ENTRIES if entry.name in ("ar", "zipar: window 4", "mulo-sweeps: no limit")]
    pipeline = engines.load(minimal_bundle, threads=1)
    drawn: list[str] = []
    names = {entry.name: f"id of {entry.name}" for entry in chosen}
    write_costs(tmp_path, measure_costs(chosen, names, minimal_bundle, pipeline, DemoWorld(), 1, drawn.append))
    costs = read_costs(tmp_path)
    assert set(costs) == set(names.values())
    base, zipar, ours = (costs[names[entry.name]] for entry in chosen)
    assert (base.over_ar.median, base.extra_weights, base.extra_memory) == (1.0, 0, 0)
    assert zipar.extra_weights == 0
    graphs = pipeline.bundle.manifest.graphs
    drafters = sum(graphs[name].onnx.size_bytes for name in ("drafter_1", "drafter_2"))
    assert (
        drafters
        < ours.extra_weights
        < drafters
        + sum(entry.onnx.size_bytes for name, entry in graphs.items() if "condition" in name or "sampler" in name)
    )
    assert all(cost.seconds.count == cost.over_ar.count == 6 for cost in costs.values())
    assert len(drawn) == 3 * 7 + 3
    write_costs(tmp_path, {names["ar"]: base})
    assert read_costs(tmp_path) == costs


def test_another_form_of_the_target_is_no_further_weight(minimal_bundle: Path) -> None:
    manifest = engines.load(minimal_bundle, threads=1).bundle.manifest
    assert extra_weights({"target", "target_branched", "target_condition"}, {"target"}, manifest) == 0


@pytest.mark.parametrize("change", [("1.0", "NaN"), ("1.0", "Infinity"), ("seconds", "minutes"), ("{", "[")])
def test_costs_that_are_none(tmp_path: Path, change: tuple[str, str]) -> None:
    assert read_costs(tmp_path) == {}
    spread = Spread(1.0, 1.0, 1.0, 1)
    write_costs(tmp_path, {"x": Cost(spread, spread, 0, 0, "ort", "a processor")})
    path = tmp_path / COSTS_NAME
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(StudyError, match="expected costs that --time wrote"):
        read_costs(tmp_path)

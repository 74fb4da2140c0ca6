"""The tools behind the docs' figures and pictures: each runs here at its smallest, as its command."""

import importlib
import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mulo_sd.conformance.bench.shapes import Shape
from mulo_sd.engines.commands.storyboard import CAPTION_HEIGHT, PANEL_PIXELS
from mulo_sd.engines.modes import MODES as TABLE

TOOLS = (
    "make_pictures",
    "make_triton",
    "measure_checkpoints",
    "measure_cluster",
    "measure_gpu",
    "measure_service",
    "measure_sharing",
    "measure_sweeps",
    "measure_triton",
    "measure_workers",
    "profile_decode",
    "run_triton",
    "soak_batch",
    "soak_cluster",
    "soak_service",
    "tune_gpu",
    "write_comparison",
)
MODES = tuple(TABLE)
# By `measure_gpu`.
MEASURED = ("ar", "zipar", "serial", "parallel", "exact")


def run(tool: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a tool in this process, as its command begins."""
    module = importlib.import_module(f"mulo_sd.conformance.tools.{tool}")
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    status: int = module.main()
    return status


def test_every_tool_is_here() -> None:
    folder = Path(importlib.import_module("mulo_sd.conformance.tools").__path__[0])
    assert sorted(path.stem for path in folder.glob("[!_]*.py")) == sorted(TOOLS)


def test_environments_of_triton_have_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a checkout `triton` would stand in the way of torch: of pytest's, too."""
    with pytest.raises(SystemExit, match="2"):
        run("make_triton", "--out", tmp_path / "triton", monkeypatch=monkeypatch)
    assert "error: --out: expected another name than triton, " in capsys.readouterr().err
    assert not (tmp_path / "triton").exists()


def test_a_comparison_comes_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report, docs = tmp_path / "compare", tmp_path / "docs"
    for folder in (report, docs):
        folder.mkdir()
    page = docs / "comparison.md"
    page.write_text("# P\n\n<!-- table: The table / A -->\n<!-- /table -->\n")
    assert run("write_comparison", "--report", report, "--docs", docs, monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == f"error: {report / 'comparison.md'}: No such file or directory\n"
    (report / "comparison.md").write_text("## The table: 6 prompts\n\n### A\n\n| x |\n")
    for name in ("comparison.csv", "comparison.png"):
        (report / name).write_text(name)
    assert run("write_comparison", "--report", report, "--docs", docs, monkeypatch=monkeypatch) == 0
    assert page.read_text() == "# P\n\n<!-- table: The table / A -->\n\n| x |\n\n<!-- /table -->\n"
    names = ["comparison.csv", "comparison.md", "comparison.png"]
    assert sorted(path.name for path in (docs / "comparison").iterdir()) == names
    report.rename(tmp_path / "pictograms")  # another world's lies in a folder of its own, here as there
    options = ("--report", tmp_path, "--docs", docs, "--world", "pictograms")
    assert run("write_comparison", *options, monkeypatch=monkeypatch) == 0
    assert page.read_text() == "# P\n\n<!-- table: The table / A -->\n\n| x |\n\n<!-- /table -->\n"
    assert sorted(path.name for path in (docs / "comparison").iterdir()) == [*names, "pictograms"]
    assert sorted(path.name for path in (docs / "comparison" / "pictograms").iterdir()) == names


def test_pictures(minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a prompt, the storyboard's panels and the autoregressive image beside them."""
    names = ["readme.png", "sweeps.png"]
    assert run("make_pictures", "--bundle", minimal_bundle, "--out", tmp_path, monkeypatch=monkeypatch) == 0
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 4 * PANEL_PIXELS
            assert picture.height == 3 * (20 + PANEL_PIXELS + CAPTION_HEIGHT)
            assert len(picture.getcolors(2**24) or ()) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_sweeps(minimal_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a way, each with its passes and how many images are those of one token a pass."""
    arguments = ("--bundle", minimal_bundle, "--prompts", 2, "--threads", 1, "--ways", "ar, width 8", "cascade")
    assert run("measure_sweeps", *arguments, monkeypatch=monkeypatch) == 0
    header, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.strip().splitlines()
    )
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [row["way"] for row in rows] == ["ar", "ar, width 8", "cascade"]
    one_by_one, swept, cascade = rows
    assert (one_by_one["passes"], one_by_one["decided by a sweep"]) == ("64.0", "1.00")
    assert float(swept["passes"]) < 64
    assert float(swept["decided by a sweep"]) > 1
    assert one_by_one["same tokens"] == swept["same tokens"] == "2 of 2"
    assert cascade["same tokens"] == "0 of 2"
    assert one_by_one["x one token a pass"] == "1.00 (1.00-1.00)"


def test_sharing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """However many decodes there are, each step is one pass of all of them."""
    assert run("measure_sharing", "--steps", 40, monkeypatch=monkeypatch) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(count, passes) for count, _, passes in rows] == [(str(count), "40") for count in (1, 2, 4, 8, 16)]
    assert all(0 < float(milliseconds) < 5 for _, milliseconds, _ in rows)


def test_profile(minimal_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A table a mode, whose parts are the whole."""
    arguments = ("--bundle", minimal_bundle, "--modes", "ar", "cascade", "--repeat", 1, "--threads", 1)
    assert run("profile_decode", *arguments, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    tables = said.strip().split("\n\n")
    assert len(tables) == 2
    for table in tables:
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        assert rows[0][1:] == ["calls", "ms", "share"]
        parts, whole = rows[2:-1], rows[-1]
        assert whole[0] == "all"
        assert sum(float(row[2]) for row in parts) == pytest.approx(float(whole[2]), abs=1)
        assert sum(float(row[3].rstrip("%")) for row in parts) == pytest.approx(100, abs=0.5)
        assert {row[0] for row in parts} >= {"target: steps", "caches", "sampling and acceptance, noise included"}
    passes = dict(re.findall(r"\| (target: steps|drafters: steps) \| (\d+) \|", tables[0]))
    assert passes == {"target: steps": "64"}, "8 x 8 cells; the prefill, which gives the first, is as short as a step"


def test_checkpoints(minimal_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a mode, each with its passes; and the table."""
    assert run("measure_checkpoints", minimal_bundle, "--backend", "ort", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    found = re.findall(r"^([\w-]+) \([\d.e-]+, (\d+), (\d+), ", said, re.MULTILINE)
    lines = {mode: (int(target), int(drafter)) for mode, target, drafter in found}
    assert tuple(lines) == MODES
    assert lines["ar"] == (40, 0), "stopped after 40 cells, one a pass"
    beside = {mode for mode, entry in TABLE.items() if entry.draft in ("coarse", "block") or entry.has_head}
    assert all((drafter > 0) == (mode in beside) for mode, (_, drafter) in lines.items())
    assert "largest pass" in said


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("make_pictures", ["--out", "none"], "readme.png: expected a file in a folder that exists"),
        ("make_pictures", ["--bundle", "none", "--out", "."], "none: expected a bundle's folder, found none"),
        ("profile_decode", ["--bundle", "none"], "none: expected a bundle's folder, found none"),
        ("profile_decode", ["--repeat", "0"], "--repeat: expected a whole number in 1..1000, got 0"),
        ("profile_decode", ["--threads", "0"], "threads: expected a whole number in 1..1024, got 0"),
        ("profile_decode", ["--modes", "fast"], "invalid choice: 'fast'"),
        ("measure_checkpoints", ["none"], "none: expected a bundle's folder, found none"),
        ("measure_checkpoints", ["none", "--modes", "fast"], "invalid choice: 'fast'"),
        ("measure_gpu", [], "the following arguments are required: --out"),
        ("measure_gpu", ["--out", "x", "--parts", "all"], "invalid choice: 'all'"),
        ("tune_gpu", ["--shape", "none"], "invalid choice: 'none'"),
        ("tune_gpu", [], "expected an NVIDIA GPU, a torch that was built for it, and Triton"),
    ],
)
def test_wrong_arguments(
    tool: str,
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, status 2, before anything is written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    try:
        status: object = run(tool, *arguments, monkeypatch=monkeypatch)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_decodes_of_the_gpu_s_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` on the CPU alone, where every token is equal."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    module = importlib.import_module("mulo_sd.conformance.tools.gpu.decodes")
    small_shape = module.small_shape

    def tiny_shape(name: str) -> Shape:
        shape = small_shape(name)
        configs = [
            replace(config, grid_height=side, grid_width=side, layers=1, dim=32)
            for config, side in zip(shape.models, (4, 2), strict=True)
        ]
        tiny: Shape = replace(shape, models=tuple(configs))
        return tiny

    monkeypatch.setattr(module, "small_shape", tiny_shape)
    assert run("measure_gpu", "--out", tmp_path / "out", "--parts", "check", monkeypatch=monkeypatch) == 0
    lines = json.loads((tmp_path / "out" / "check.json").read_text())
    assert {line["family"] for line in lines} == {"llamagen", "tar"}
    assert {line.get("mode") for line in lines} == {*MEASURED, None}
    assert all(share == 1 for line in lines for share in line["equal"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a rehearsal is what there is without a GPU")
def test_the_gpu_s_measurements_are_rehearsed(
    minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the driver: plans are built, and what each runtime says without one is told; every part fails the whole."""
    out = tmp_path / "out"
    options = ("--bundle", minimal_bundle, "--prompts", 1, "--parts", "plans", "tensorrt")
    assert run("measure_gpu", "--out", out, *options, monkeypatch=monkeypatch) == 1
    said = capsys.readouterr()
    assert "no GPU: a rehearsal" in said.out
    assert "Traceback" not in said.out
    errors = {line["backend"]: line["error"] for line in json.loads((out / "plans.json").read_text())}
    assert set(errors) == {"trt-rtx", "trt", "ort-cuda", "torch-cuda"}
    assert all(error.startswith("BackendError: ") for error in errors.values())
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        lines = json.loads((out / "tensorrt.json").read_text())
        targets = [line["target"] for line in lines if "built_bytes" in line]
        assert targets[:2] == ["8.0", "all from 8.0 on"]
        assert len(targets) == 3
        assert [line["target"] for line in lines if "error" in line] == targets

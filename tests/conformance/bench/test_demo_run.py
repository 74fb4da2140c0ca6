"""A short run over the demo: table, record and figures; order and pairing of what is compared."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd import engines
from mulo_sd.conformance.bench import __main__ as command
from mulo_sd.conformance.bench.demo_table import compare, mode_rows
from mulo_sd.conformance.bench.fresh import fresh_figures, within_target
from mulo_sd.conformance.bench.modes import modes_of
from mulo_sd.conformance.bench.reference_side import held_out_drawings
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.engines.prompts import parse
from mulo_sd.reference.demo.models import PRESETS
from mulo_sd.reference.demo.scenes import is_held_out


def test_a_short_run(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    arguments = ["--out", str(out), "--bundle", str(demo_bundle), "--quick", "--prompts", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments, "--modes", "zipar", "parallel"])
    assert command.main() == 0
    said = capsys.readouterr().out
    for words in ("ZipAR", "host ms/step", "ms a pass by the tokens", "to the first image", "GB/s", "x floor", "binds"):
        assert words in said
    record = json.loads((out / "bench.json").read_text())
    assert [row["name"] for row in record["modes"]] == ["zipar", "parallel"]
    for row in record["modes"]:
        assert row["seconds"]["count"] == 1
        assert 0 < row["host_share"]["median"] < 1
        assert row["peak_bytes"] > 1e8
        assert row["score"] in (0.0, 1.0)
        assert row["settings"]["guidance_scale"] == 1.2
    assert record["start"]["first_image"]["median"] > record["start"]["import_and_open"]["median"]
    assert record["passes"][-1]["fed"] == 1024
    assert record["machine"]["rates"]["fp32"] > 0
    assert [(row["size"], row["images"]) for row in record["throughput"]] == [(1, 4), (4, 4)]
    # A pass that several share is counted once.
    assert record["throughput"][0]["passes"] == record["throughput"][0]["own_passes"]
    assert record["throughput"][1]["passes"] < record["throughput"][1]["own_passes"]
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "modes.png", "passes.png", "throughput.png"]
    for name in ("modes.png", "passes.png", "throughput.png"):
        with Image.open(out / name) as figure:
            assert min(figure.size) > 200


class Clock:
    """An eager side that draws nothing, in a known time."""

    def __init__(self, pixels: object) -> None:
        self.pixels = pixels

    def draw(self, *_: object) -> tuple[object, float, int]:
        return self.pixels, 60.0, 1024


def test_rounds_are_paired_and_shuffled(demo_bundle: Path) -> None:
    pipeline = engines.load(demo_bundle, threads=1)
    modes = modes_of(2, ["zipar", "cascade"])
    told: list[str] = []
    drawings = held_out_drawings(DemoWorld(), 1)
    eager = Clock(None)
    measured = compare(pipeline, modes, drawings, 3, 1, eager, None, told.append)  # type: ignore[arg-type]
    rounds = [tuple(told[start : start + 3]) for start in range(0, len(told), 3)]
    assert len(rounds) == 4  # the first is the warm-up
    assert all(sorted(names) == ["cascade", "eager", "zipar"] for names in rounds)
    assert len(set(rounds)) > 1
    rows = {row.name: row for row in mode_rows(measured, modes, lambda mode: pipeline.settings(**mode.changes))}
    assert rows["eager"].wall.median == 60
    own = measured["cascade"]
    assert rows["cascade"].over_eager is not None
    assert rows["cascade"].over_eager.high == pytest.approx(sorted(60 / value for value in own.seconds)[1:][0], rel=0.5)
    assert rows["cascade"].over_engine_ar is None
    assert rows["cascade"].nfe_drafter > 0
    assert rows["zipar"].nfe_drafter == 0
    assert set(rows["cascade"].pass_ms_by_model) == {"target", "drafter_1", "drafter_2"}
    assert len(set(own.nfe_target.values())) == 1


def test_prompts_are_held_out_and_of_every_task() -> None:
    drawings = held_out_drawings(DemoWorld(), 12)
    prompts = [parse(drawing.text) for drawing in drawings]
    assert [drawing.seed for drawing in drawings] == list(range(12))
    assert len({prompt.task for prompt in prompts[:6]}) == 6
    wide = [prompt for prompt in prompts if prompt.task == "two_object"]
    assert wide
    assert all(is_held_out(prompt) for prompt in wide)


def test_modes_that_a_bundle_allows() -> None:
    few = next(mode for mode in modes_of(2) if mode.name == "sweeps")
    assert {name: getattr(PRESETS["passes"], name) for name in few.changes} == dict(few.changes)
    assert [mode.name for mode in modes_of(0)] == ["ar", "ar-sweeps", "zipar"]
    assert [mode.name for mode in modes_of(1)] == ["ar", "ar-sweeps", "zipar", "serial", "parallel", "ssd", "exact"]
    assert [mode.name for mode in modes_of(2, ["cascade", "ar"])] == ["ar", "cascade"]


def test_figures_of_a_fresh_process(demo_bundle: Path) -> None:
    figures = fresh_figures(demo_bundle, "ort", 1, None, draw=False)
    assert set(figures) == {"import", "open", "import_and_open", "peak_bytes"}
    # Of a process that has not loaded PyTorch, as this one has.
    assert 2e7 < figures["peak_bytes"] < 4e8
    assert within_target("import_and_open", 0.5) is True
    assert within_target("peak_bytes", 1e9) is False
    assert within_target("open", 1.0) is None

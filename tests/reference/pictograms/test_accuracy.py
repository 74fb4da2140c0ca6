"""The command that measures the evaluator: what it counts, its bars, and a line for what is wrong."""

import json
from pathlib import Path

import pytest

from mulo_sd.reference.evaluator_accuracy import measure
from mulo_sd.reference.pictograms import accuracy
from mulo_sd.reference.pictograms.captions import TASKS
from mulo_sd.reference.pictograms.scenes import held_out_scenes, scene
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.weights import save_weights
from tests.in_process import InProcess

MODULE = "mulo_sd.reference.pictograms.accuracy"
SCENES = list(held_out_scenes(2, first=20_000))


def test_the_other_caption_is_never_true_of_the_scene() -> None:
    judged = accuracy.judged(SCENES)
    assert [item.task for item in judged] == [item.wish.task for item in SCENES]
    for item, one in zip(SCENES, judged, strict=True):
        assert one.judge(item.render(128)) == (True, False)
        assert accuracy.is_shown(item.wish, item)


def test_a_scene_may_show_what_another_caption_asks_for() -> None:
    first, second = scene(0, 1, "position"), scene(1, 1, "position")
    pair = type(first.wish)(first.wish.objects)
    assert accuracy.is_shown(pair, first)
    assert not accuracy.is_shown(pair, second)
    assert not accuracy.is_shown(type(pair)(first.wish.objects[:1]), first)
    coloured = scene(0, 1, "colors")
    assert accuracy.is_shown(type(pair)(coloured.wish.objects), coloured)
    assert not accuracy.is_shown(type(pair)(coloured.wish.objects, ground="none"), coloured)
    with pytest.raises(ValueError, match="take more"):
        accuracy.judged([first])


def test_measure_counts_both_verdicts(tiny_tokenizer: Tokenizer) -> None:
    """An untrained tokenizer destroys every scene, which refuses the wrong captions and the right ones."""
    measured = measure(accuracy.judged(SCENES[::2]), tiny_tokenizer, (64, 32))
    assert measured.accuracy.keys() == {64, 32}
    for kinds in measured.accuracy.values():
        assert list(kinds["rendered"]) == [*TASKS, "overall"]
        assert kinds["rendered"]["overall"].accuracy == 1
        assert kinds["reconstructed"]["overall"].own_accepted == 0
        assert kinds["reconstructed"]["overall"].accuracy == 0
    assert measured.psnr_db.keys() == {128, 64, 32}
    assert all(value < 15 for value in measured.psnr_db.values())


def test_the_command_writes_figures_and_holds_them_against_the_bars(
    tiny_tokenizer: Tokenizer, in_process: InProcess, tmp_path: Path
) -> None:
    save_weights(tiny_tokenizer, tiny_tokenizer.config, tmp_path / "tokenizer.safetensors")
    out = tmp_path / "figures.json"
    done = in_process.run(
        MODULE, "--scenes", "1", "--tokenizer", str(tmp_path / "tokenizer.safetensors"), "--json", str(out)
    )
    assert done.returncode == 1
    assert done.stderr == "reconstructed: expected an accuracy of at least 97.0%\n"
    assert "5 held-out scenes, reconstructed at 32 px" in done.stdout
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["scenes"] == 5
    assert figures["psnr_db"].keys() == {"32px", "64px", "128px"}
    kinds = ("rendered", "reconstructed")
    assert figures["accuracy"].keys() == {f"{kind}{size}" for kind in kinds for size in ("", "_64px", "_32px")}
    assert figures["accuracy"]["rendered"]["overall"] == {"own_accepted": 1, "other_accepted": 0, "accuracy": 1}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--scenes", "0"], 2, "--scenes: expected a whole number in 1..1000000, got 0"),
        (["--tokenizer", "none.safetensors"], 2, "error: none.safetensors: "),
        (["--tokenizer", "text.safetensors"], 2, "error: text.safetensors: "),
        (["--json", "none/figures.json"], 2, "--json: none/figures.json: cannot write it: "),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: list[str], status: int, said: str, in_process: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    done = in_process.run(MODULE, *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr.splitlines()[-1]


def test_a_missing_shipped_tokenizer_is_told(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "SHIPPED", tmp_path)
    done = in_process.run(MODULE, "--scenes", "5")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / 'tokenizer.safetensors'}: expected the shipped tokenizer, found none; "
        "give one with --tokenizer FILE\n"
    )

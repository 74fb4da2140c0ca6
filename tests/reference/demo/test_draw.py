"""The reference's command: the same image as decode's, the engines' options, one line for what is wrong."""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mulo_sd.engines.commands.setting_arguments import add_setting_arguments
from mulo_sd.reference import demo
from mulo_sd.reference.decode import decode
from mulo_sd.reference.demo import draw
from mulo_sd.reference.demo.models import RECOMMENDED
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.settings import Settings

PROMPT = "a red circle"
# Few passes, and another value than the demo's for most of what the mode reads.
FAST = ["--draft-window", "1", "--island-window", "1", "--drafters", "2", "--up-sampler", "latent", "--top-k", "50"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["draw", *arguments])
    return draw.main()


def test_draws_what_decode_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, PROMPT, "--out", str(tmp_path / "it.png"), "--seed", "5", *FAST) == 0
    settings = dataclasses.replace(
        RECOMMENDED, draft_window=1, island_window=1, drafters=(2,), up_sampler="latent", top_k=50
    )
    models = demo.load()
    with torch.inference_mode():
        tokens = decode(models, demo.condition(PROMPT, 5), settings, 5).tokens
        expected = pixels_from_images(models.tokenizer.images_from_tokens(tokens[None]))[0]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "it.png")), expected.numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["it.png"]


def test_has_the_engines_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--help")
    shown = capsys.readouterr().out
    parser = argparse.ArgumentParser()
    add_setting_arguments(parser)
    named = {action.dest: action.option_strings[0] for action in parser._actions if action.dest != "help"}
    assert set(named) - {"settings_file"} == {field.name for field in dataclasses.fields(Settings)}
    assert all(f"{option} " in shown for option in named.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["two blobs"], "prompt: unknown word 'blobs'"),
        ([PROMPT, "--tau", "nan"], "tau: expected a number in -1e+09..1e+09, got nan"),
        ([PROMPT, "--drafters", "3"], "drafters: expected models in 1..2, got 3"),
        ([PROMPT, "--drafters", "2,1"], "drafters: expected numbers of models from 1 on, ascending"),
        ([PROMPT, "--mode", "ar", "--sweep-width", "0"], "sweep_width: expected"),
        ([PROMPT, "--seed", "-1"], "seed: expected a whole number in 0.."),
        ([PROMPT, "--threads", "0"], "threads: expected a whole number in 1..1024, got 0"),
        ([PROMPT, "--out", "nowhere/it.png"], "expected a file in a folder that exists"),
        ([PROMPT, "--out", "it.bmp"], "expected a file name that ends in .png"),
    ],
)
def test_says_what_is_wrong_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "--out", "it.png", *arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert said in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

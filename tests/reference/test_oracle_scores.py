"""The worlds' commands that score up-samplers on real scenes."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mulo_sd.reference.demo import oracle_scores as demo_command
from mulo_sd.reference.demo.shipped import shipped_file
from mulo_sd.reference.latent import LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.pictograms import oracle_scores as pictograms_command
from mulo_sd.reference.pictograms.shipped import SHIPPED
from mulo_sd.reference.weights import save_weights

DEMOS = shipped_file("up_sampler_4.safetensors")
PICTOGRAMS = SHIPPED / "up_sampler_4.safetensors"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its exit status, output and errors."""
    threads = torch.get_num_threads()

    def command(main: Callable[[], int], *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["oracle_scores", *map(str, arguments)])
        try:
            status = main()
        except SystemExit as ended:
            status = int(str(ended.code))
        finally:
            torch.set_num_threads(threads)
        return status, *capsys.readouterr()

    return command


@pytest.mark.parametrize(
    ("main", "file", "scenes"), [(demo_command.main, DEMOS, 6), (pictograms_command.main, PICTOGRAMS, 5)]
)
def test_a_file(
    main: Callable[[], int], file: Path, scenes: int, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Its ratio, the share of scenes that hold, and a PSNR of a picture."""
    copy = tmp_path / "s"
    copy.write_bytes(file.read_bytes())
    status, output, errors = run(main, "--per-task", 1, "--up-sampler", copy)
    assert (status, errors) == (0, "")
    assert f"{scenes} scenes" in output
    row = next(line for line in output.splitlines() if str(copy)[:12] in line).split("│")
    ratio, score, psnr = (float(cell) for cell in row[2:5])
    assert ratio == 4
    assert 0 <= score <= 100
    assert 15 < psnr < 50


@pytest.mark.parametrize(
    ("ratio", "codes", "told"),
    [
        (3, 1024, "expected a sampler of ratio 2 or 4, got 3"),
        (2, 1024, "expected a sampler of this tokenizer's codes, got another's; train one for it"),
        (2, 16, "expected a sampler of this tokenizer's codes, got another's; train one for it"),
    ],
)
def test_another_sampler(
    ratio: int, codes: int, told: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file, config = tmp_path / "up.safetensors", LatentScalerConfig(ratio, codes, 16, 8, 1, 1, 8)
    save_weights(LatentUpSampler(config, torch.ones(codes, 16)), config, file)
    for main in (demo_command.main, pictograms_command.main):
        assert run(main, "--up-sampler", file) == (2, "", f"error: {file}: {told}\n")


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_no_such_count(count: int, run: Callable[..., tuple[int, str, str]]) -> None:
    status, output, errors = run(pictograms_command.main, "--per-task", count)
    assert (status, output) == (2, "")
    assert errors.endswith(f"--per-task: expected a whole number in 1..100000, got {count}\n")
    assert errors.count("\n") == 1

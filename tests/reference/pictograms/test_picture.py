"""The picture of the page: drawn by its command, whole or not at all."""

from pathlib import Path

import numpy as np
from PIL import Image

from mulo_sd.reference.pictograms.captions import TASKS
from mulo_sd.reference.pictograms.scenes import TRAINING_SPLIT, scene
from tests.in_process import InProcess

MODULE = "mulo_sd.reference.pictograms.make_picture"
SHOWN = Path(__file__).resolve().parents[3] / "docs" / "images" / "pictograms.png"


def test_the_command_draws_the_picture_of_the_page(in_process: InProcess, tmp_path: Path) -> None:
    """Letters apart, which follow Pillow's version."""
    assert in_process.run(MODULE, "--out", str(tmp_path / "it.png")).returncode == 0
    drawn, shown = (np.asarray(Image.open(path).convert("RGB")) for path in (tmp_path / "it.png", SHOWN))
    assert drawn.shape == shown.shape
    assert np.array_equal(drawn[:128], shown[:128])
    assert np.array_equal(drawn[:128, 20:148], scene(20, TRAINING_SPLIT, TASKS[0]).render(128))
    assert SHOWN.stat().st_size < 250_000


def test_what_is_wrong_is_told_in_a_line(in_process: InProcess, tmp_path: Path) -> None:
    for arguments, said in (
        (["--first", "-1"], "--first: expected 0 or more, got -1"),
        (["--out", str(tmp_path / "none" / "it.png")], "it.png: cannot write it: "),
    ):
        done = in_process.run(MODULE, *arguments)
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())

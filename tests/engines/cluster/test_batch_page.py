"""docs/cluster.md on runs of images: its commands run, and its table is whole."""

import re
from pathlib import Path

import pytest

from mulo_sd.engines.generate_many import CLUSTER_ARGUMENTS
from tests.engines.cluster.test_page import blocks, run, section

TITLE = "Batch: many images"


@pytest.mark.usefixtures("ray_extra")
def test_commands(demo_bundle: Path, tmp_path: Path) -> None:
    """Drawn and whole; killed and gone on with."""
    draw, kill = blocks(TITLE)
    assert run(draw, tmp_path).splitlines()[0] == "images: 3 images of 3 prompts, 3 drawn now"
    assert "kill -KILL $!" in kill
    told = re.fullmatch(r"stars: 20 images of 20 prompts, (\d+) drawn now\n", run(kill, tmp_path))
    assert told is not None
    assert 0 < int(told[1]) <= 17
    assert len(list((tmp_path / "stars").glob("*.png"))) == 20


def test_the_table_lists_all_options() -> None:
    rows = re.findall(r"^\| (`--.*?`) \|", section(TITLE), re.MULTILINE)
    listed = {option for row in rows for option in re.findall(r"--([a-z-]+)", row)}
    assert listed == {"ray", "batch", "shard", *(name.replace("_", "-") for name in CLUSTER_ARGUMENTS)}

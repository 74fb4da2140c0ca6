"""From a folder of pictures to one that is drawn: the bundle at the end of the training command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd.processes import environment
from tests.in_process import InProcess
from tests.reference.train.commanded import SHORT, TINY, command
from tests.reference.train.folder.made import add_pictures


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a training of them without a bundle."""
    folder = tmp_path_factory.mktemp("bundles")
    add_pictures(folder / "images", 20)
    done = command(*arguments(folder), "--no-bundle")
    assert done.returncode == 0, done.stderr
    assert f"build a bundle with: mulo-sd build --trained {folder / 'out' / 'models'} --out " in done.stdout
    return folder


def arguments(folder: Path) -> list[str | Path]:
    return ["--images", folder / "images", "--out", folder / "out", *TINY, *SHORT]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_build_ends_with_the_training_and_is_made_up_for(place: Path, in_process: InProcess) -> None:
    """Asked to end in the middle of the build, then begun again: the bundle draws, and nothing was trained twice."""
    program = "import sys; from tests.reference.train.commanded import command; done = command(*sys.argv[1:]); "
    program += "print(done.stderr, end='', file=sys.stderr); sys.exit(done.returncode)"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments(place))],
        env=environment(Path(__file__).resolve().parents[3]),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while process.poll() is None and not list((place / "out").glob(".bundle.partial-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "error: interrupted; the same command goes on from there" in error
    assert "Traceback" not in error
    assert not (place / "out" / "bundle").exists()
    assert not list((place / "out").glob(".bundle.partial-*")), "the build has ended, too"

    bundle = place / "out" / "bundle"
    done = command(*arguments(place))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained already") == 3
    assert f'draw with: mulo-sd generate "..." --bundle {bundle} --out image.png' in done.stdout
    drawn = in_process.run(
        *("mulo_sd.engines.generate", "picture number 3", "--bundle", str(bundle)),
        *("--out", str(place / "image.png")),
    )
    assert drawn.returncode == 0, drawn.stderr
    with Image.open(place / "image.png") as image:
        assert image.size == (32, 32)

    manifest = (bundle / "manifest.json").stat().st_mtime_ns
    again = command(*arguments(place))
    assert again.returncode == 0
    assert f"{bundle} is there already" in again.stdout
    assert "wrote" not in again.stdout
    head = command("head", *arguments(place)[:4], *TINY, "--steps", "1")
    assert head.returncode == 0, head.stderr
    assert f"{bundle} was built without these models; replace it with: mulo-sd build --trained " in head.stdout
    assert (bundle / "manifest.json").stat().st_mtime_ns == manifest

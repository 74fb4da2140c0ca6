"""From a folder of pictures to one that is drawn: the bundle at the end of the training command."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd.engines.bundle.contract import FEWEST_PASSES_PRESET
from mulo_sd.reference.pictograms import shipped
from mulo_sd.reference.train.starting_settings import STARTING_SETTINGS
from mulo_sd.reference.trained import load_trained
from tests.captioned_bundle import PIXELS, CaptionedBundle, training_arguments, whole_training
from tests.in_process import InProcess
from tests.reference.train.commanded import command, signalled


@pytest.fixture
def place(captioned_bundle: CaptionedBundle, tmp_path: Path) -> Path:
    """A copy of a training with its bundle."""
    return Path(shutil.copytree(captioned_bundle.place, tmp_path / "place"))


def test_a_bundle_is_made_up_for_and_draws(
    captioned_bundle: CaptionedBundle, in_process: InProcess, tmp_path: Path
) -> None:
    """Of a training that was told to leave it out; nothing is trained twice."""
    models, bundle = captioned_bundle.models, captioned_bundle.bundle
    first, second = captioned_bundle.said
    assert f"build a bundle with: mulo-sd build --trained {models} --out {bundle}" in first
    assert second.count("trained already") == 2
    assert f'draw with: mulo-sd generate "..." --bundle {bundle} --out image.png' in second
    out = tmp_path / "image.png"
    drawn = in_process.run("mulo_sd.engines.generate", "two keys", "--bundle", str(bundle), "--out", str(out))
    assert drawn.returncode == 0, drawn.stderr
    with Image.open(out) as image:
        assert image.size == (PIXELS, PIXELS)


@pytest.mark.parametrize("world", ["a folder's", "pictograms"])
def test_the_preset_of_the_fewest_passes(world: str, captioned_bundle: CaptionedBundle) -> None:
    """The same decode by sweeps as wide as a grid, whatever the machine is fastest with.

    What holds on the pictograms is what a folder's bundle starts from.
    """
    trained = shipped.load() if world == "pictograms" else load_trained(captioned_bundle.models)
    drafters = tuple(range(1, len(trained.models.drafters) + 1))
    neighbours = min(STARTING_SETTINGS.neighbours, trained.models.tokenizer.config.codes)
    assert trained.settings == replace(STARTING_SETTINGS, drafters=drafters, neighbours=neighbours)
    assert (trained.settings.sweeps, trained.settings.draft_sweeps, trained.settings.sweep_width) == (2, None, "auto")
    assert trained.presets == {FEWEST_PASSES_PRESET: replace(trained.settings, sweep_width=None)}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_build_ends_with_the_training(place: Path) -> None:
    shutil.rmtree(place / "out" / "bundle")
    with signalled(signal.SIGTERM, lambda: list((place / "out").glob(".bundle.partial-*"))):
        done = command(*whole_training(place))
    assert done.returncode == 130, done.stderr
    assert "error: interrupted; the same command goes on from there" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "out" / "bundle").exists()
    assert not list((place / "out").glob(".bundle.partial-*")), "the build has ended, too"


def test_a_bundle_that_is_there_stays(place: Path) -> None:
    bundle = place / "out" / "bundle"
    manifest = (bundle / "manifest.json").stat().st_mtime_ns
    again = command(*whole_training(place))
    assert again.returncode == 0, again.stderr
    assert f"{bundle} is there already" in again.stdout
    assert "wrote" not in again.stdout
    (bundle / "codes.npy").rename(bundle / "codes.moved")
    broken = command(*whole_training(place))
    assert broken.returncode == 2
    assert "codes.npy" in broken.stderr
    assert (
        f"; or, of the models here: mulo-sd build --trained {place}/out/models --out {bundle} --force" in broken.stderr
    )
    (bundle / "codes.moved").rename(bundle / "codes.npy")
    head = command("head", *training_arguments(place), "--steps", "1")
    assert head.returncode == 0, head.stderr
    assert f"{bundle} was built without these models; replace it with: mulo-sd build --trained " in head.stdout
    assert (bundle / "manifest.json").stat().st_mtime_ns == manifest

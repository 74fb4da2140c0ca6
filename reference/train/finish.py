"""What a whole training leaves in the end: a folder of trained models, and a bundle."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import torch

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.processes import environment
from mulo_sd.reference.checkpoints.vq import load_image_tokenizer
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.examples import Example, tokens_of
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.sheet import captioned, draw_sheet
from mulo_sd.reference.train.starting_settings import STARTING_SETTINGS
from mulo_sd.reference.train.training import Training
from mulo_sd.reference.trained import describe_again, describe_trained, is_described
from mulo_sd.reference.trained.description import MODELS_FILE

END_SECONDS = 60.0  # for a build that is asked to end
# What a build imports; of the extra `export`.
NEEDED = ("onnx", "onnxscript")
# A preset of the same images in the fewest passes, which count on a GPU: sweeps as wide as a grid.
FEWEST_PASSES = "passes"


def check_can_build() -> None:
    """Check before hours of training that a bundle can be built after them.

    Raises:
        RunError: a package is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise RunError(
            f"{missing[0]} is not installed, which building a bundle needs; install it with "
            '`pip install "mulo-sd[export]"`, or train with --no-bundle'
        )


def finish(training: Training, captions: CaptionIds, with_bundle: bool, say: Callable[[str], None]) -> None:
    """Make the models of a whole training a folder of trained models, and a bundle of them.

    Args:
        training: All its models are trained.
        captions: As in training.
        with_bundle: Build one, where there is none.
        say: Shows a line.

    Raises:
        WeightsError: models do not belong together, or cannot be written.
        RunError: the bundle cannot be built.
    """
    place, shown = training.place, captioned(training)
    is_new = not is_described(place.models, training.material.name)
    if is_new:
        _describe(training, captions, shown)
        say(f"wrote {place.models / MODELS_FILE}")
    if shown and not place.sheet.exists():
        say(f"drawing {len(shown)} captions with the new models")
        draw_sheet(place, shown)
        say(f"wrote {place.sheet}: pictures of the set, and below each what the models draw for its caption")
    if not with_bundle:
        say(f"build a bundle with: {_build_command(place)}")
    elif not (place.bundle / "manifest.json").exists():
        _build(training)
    elif is_new:
        _say_to_build_again(training, say)
    else:
        _check_bundle(place)
        say(f"{place.bundle} is there already")
    if with_bundle:
        say(f'draw with: mulo-sd generate "..." --bundle {place.bundle} --out image.png')


def _check_bundle(place: Place) -> None:
    """Check by the command that checks bundles that the one that is there can be drawn from.

    Raises:
        RunError: it cannot.
    """
    command = [sys.executable, "-m", "mulo_sd.engines.check", str(place.bundle), "--backend", "ort"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).splitlines()[-1].removeprefix("error: ")
        raise RunError(f"{told}; or, of the models here: {_build_command(place)} --force")


def refresh(training: Training, say: Callable[[str], None]) -> None:
    """Enter models that were trained by name into the folder of trained models, where it is one.

    Raises:
        WeightsError: models do not belong together, or cannot be written.
    """
    place = training.place
    if (place.models / MODELS_FILE).exists() and not is_described(place.models):
        describe_again(place.models)
        say(f"wrote {place.models / MODELS_FILE}")
        if place.bundle.exists():
            _say_to_build_again(training, say)


def _say_to_build_again(training: Training, say: Callable[[str], None]) -> None:
    place = training.place
    say(f"{place.bundle} was built without these models; replace it with: {_build_command(place)} --force")


def _build_command(place: Place) -> str:
    return f"mulo-sd build --trained {place.models} --out {place.bundle}"


def _describe(training: Training, captions: CaptionIds, shown: dict[str, Example]) -> None:
    sizes = training.recipe.sizes
    tokenizer = load_image_tokenizer(training.starts.tokenizer)
    first = next(iter(shown.values()), training.shown(0))
    with torch.inference_mode():
        tokens = [tokens_of(tokenizer, [first], side)[0] for side in sizes.sides]
    settings = replace(
        STARTING_SETTINGS,
        drafters=tuple(range(1, 1 + sizes.drafters)),
        neighbours=min(STARTING_SETTINGS.neighbours, tokenizer.config.codes),
    )
    presets = {FEWEST_PASSES: replace(settings, sweep_width=None)}
    describe_trained(training.place.models, training.material.name, captions, [*shown], tokens, settings, presets)


def _build(training: Training) -> None:
    """Build the bundle with the build command, in a process of its own; it ends with this one.

    Raises:
        RunError: it cannot be built; its own message stands above.
    """
    place = training.place
    command = [sys.executable, "-m", "mulo_sd.export.build", "--trained", str(place.models), "--out", str(place.bundle)]
    with subprocess.Popen([*command, "--backend", "ort"], env=environment()) as build:
        try:
            status = build.wait()
        except KeyboardInterrupt:
            build.terminate()
            try:
                build.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                build.kill()
            raise
    # One that a killed training left to itself may have been faster.
    if status and not (place.bundle / "manifest.json").exists():
        raise RunError(
            f"{place.bundle}: expected a bundle, but the build failed, see above; the models are in {place.models}: "
            f"build it with `{_build_command(place)}`"
        )

"""From a folder of captioned pictures to a bundle, once for all tests and processes of a run.

The training begins with random weights that are told apart by what they draw, and takes a few steps.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from PIL import Image

from mulo_sd.reference.pictograms.examples import CAPTIONS_FILE, PREFIX_LENGTH, PictogramExamples
from mulo_sd.reference.pictograms.scenes import scene
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.weights import save_weights
from tests.reference.train.commanded import SHORT, command
from tests.trained_models import CODES, transformer

# Four pixels a token: pictures of 32 pixels, the smallest that the pictograms' evaluator reads.
PIXELS, GRIDS = 32, ((8, 8), (4, 4))
PICTURES = 16


@dataclass(frozen=True)
class CaptionedBundle:
    """What the training command made in a folder; nobody changes it.

    Attributes:
        place: The folder; a copy of it can be gone on with.
    """

    place: Path

    @property
    def bundle(self) -> Path:
        return self.place / "out" / "bundle"

    @property
    def models(self) -> Path:
        """The folder of trained models."""
        return self.place / "out" / "models"

    @property
    def said(self) -> tuple[str, str]:
        """What was said by the command with --no-bundle, and then without."""
        first, second = json.loads((self.place / "said.json").read_text())
        return first, second


def training_arguments(place: Path) -> list[str | Path]:
    """Return the command's arguments that say what is trained on."""
    return [
        *("--images", place / "images", "--out", place / "out", "--name", "pictograms"),
        *("--pixels", str(PIXELS), "--drafters", "1", "--threads", "1"),
        *("--tokenizer", place / "tokenizer.safetensors"),
        *("--caption-tokenizer", CAPTIONS_FILE, "--prefix-length", str(PREFIX_LENGTH)),
    ]


def whole_training(place: Path) -> list[str | Path]:
    """Return the arguments of a whole training."""
    return [*training_arguments(place), "--warm-start", place / "start.safetensors", *SHORT]


def _prepare(place: Path) -> None:
    """Write pictures, and weights to begin with."""
    (place / "images").mkdir(parents=True)
    for number in range(PICTURES):
        drawn = scene(number)
        Image.fromarray(drawn.render(PIXELS)).save(place / "images" / f"{number}.png")
        (place / "images" / f"{number}.txt").write_text(drawn.caption)
    with torch.random.fork_rng(devices=[]):
        tokenizer = Tokenizer(TokenizerConfig(CODES, 4, width=8, encoder_blocks=1, decoder_blocks=1, factor=4))
    fill(tokenizer, torch.Generator().manual_seed(2), 2.0)
    save_weights(tokenizer, tokenizer.config, place / "tokenizer.safetensors")
    start = transformer(GRIDS[1], PREFIX_LENGTH, CODES, PictogramExamples().prefix_vocabulary)
    save_weights(start, start.config, place / "start.safetensors")


def make_captioned_bundle(place: Path) -> CaptionedBundle:
    """Make it in a folder, unless another process has."""
    with FileLock(f"{place}.lock"):
        if not place.exists():
            _prepare(place)
            said = []
            for options in (["--no-bundle"], []):
                done = command(*whole_training(place), *options)
                assert done.returncode == 0, done.stderr
                said.append(done.stdout)
            (place / "said.json").write_text(json.dumps(said))
    return CaptionedBundle(place)

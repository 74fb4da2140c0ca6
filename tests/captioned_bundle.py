"""A bundle of random models of the pictograms' captions, built once for all tests and processes of a run."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock

from mulo_sd.processes import environment
from mulo_sd.reference.models import Models
from mulo_sd.reference.pictograms.examples import PREFIX_LENGTH, PictogramExamples
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.trained import Trained, save_trained
from tests.trained_models import CAPTIONS, CODES, SETTINGS, transformer

# Four pixels a token: pictures of 32 pixels, the smallest that the pictograms' evaluator reads.
GRIDS = ((8, 8), (4, 4))


@dataclass(frozen=True)
class CaptionedBundle:
    """The bundle's folder, and that of the models that it was built from."""

    bundle: Path
    models: Path


def _models() -> Trained:
    examples = PictogramExamples()
    with torch.random.fork_rng(devices=[]):
        tokenizer = Tokenizer(TokenizerConfig(CODES, 4, width=8, encoder_blocks=1, decoder_blocks=1, factor=4))
    fill(tokenizer, torch.Generator().manual_seed(2), 2.0)
    target, drafter = (
        transformer(grid, PREFIX_LENGTH, CODES, examples.prefix_vocabulary, seed) for seed, grid in enumerate(GRIDS)
    )
    generator = torch.Generator().manual_seed(4)
    tokens = tuple(torch.randint(CODES, grid, generator=generator) for grid in GRIDS)
    models = Models(target, (drafter,), tokenizer)
    return Trained("pictograms", models, examples.captions, CAPTIONS[:2], tokens, SETTINGS)


def build_captioned_bundle(place: Path) -> CaptionedBundle:
    """Build it in a folder, unless another process has."""
    made = CaptionedBundle(place / "bundle", place / "models")
    with FileLock(f"{place}.lock"):
        if not made.bundle.exists():
            save_trained(_models(), made.models)
            command = [sys.executable, "-m", "mulo_sd.export.build", "--trained", str(made.models), "--backend", "ort"]
            done = subprocess.run(
                [*command, "--out", str(made.bundle)], env=environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    return made

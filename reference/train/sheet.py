"""The sheet with which a training ends: pictures of the set, and below each what the new models draw for its caption.

Samples of a run show one model alone. After a short training a target alone draws worse than MuLo-SD, which starts from
what drafters know; this is what the bundle draws.
"""

import numpy as np
import torch

from mulo_sd.reference.decode import decode
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.train.examples import Example, images_of
from mulo_sd.reference.train.pictures import save_grid
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.training import Training
from mulo_sd.reference.trained import load_trained

CAPTIONS = 8
LEAST_WIDTH = 128  # of a picture in it, in pixels: captions stand above


def captioned(training: Training) -> dict[str, Example]:
    """Return examples of different captions by these, at most `CAPTIONS` (`Training.shown`)."""
    found: dict[str, Example] = {}
    for index in range(4 * CAPTIONS):
        example = training.shown(index)
        caption = getattr(example, "caption", None)
        if caption and len(found) < CAPTIONS:
            found.setdefault(caption, example)
    return found


@torch.inference_mode()
def draw_sheet(place: Place, shown: dict[str, Example]) -> None:
    """Decode captions with the settings of a new bundle, and write the sheet.

    Args:
        place: With the folder of trained models.
        shown: Examples by caption, one at least.

    Raises:
        WeightsError: the folder of trained models cannot be used.
        OSError: the sheet cannot be written.
    """
    trained = load_trained(place.models)
    tokens = [
        decode(trained.models, trained.condition(caption), trained.settings, seed).tokens
        for seed, caption in enumerate(shown)
    ]
    images = pixels_from_images(trained.models.tokenizer.images_from_tokens(torch.stack(tokens))).numpy()
    truth = pixels_from_images(images_of(list(shown.values()), images.shape[1])).numpy()
    titles = [*shown, *[""] * len(shown)]
    save_grid(np.concatenate([truth, images]), len(shown), place.sheet, -(-LEAST_WIDTH // images.shape[2]), titles)

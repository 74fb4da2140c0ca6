"""python -m reference.pictograms.accuracy: how often the evaluator is right, on rendered and on reconstructed scenes.

Every held-out scene is judged twice: by its own caption, which must hold, and as a negative control by
another scene's caption, which it does not show and which must therefore be refused.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.reference import evaluator_accuracy
from mulo_sd.reference.evaluator_accuracy import Evaluated, Judged, wrong_wishes
from mulo_sd.reference.pictograms.captions import TASKS, Wish
from mulo_sd.reference.pictograms.evaluate import read, relation_holds
from mulo_sd.reference.pictograms.scenes import BOX, PIXELS, Placed, Scene, held_out_scenes
from mulo_sd.reference.pictograms.shipped import SHIPPED
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import WeightsError, load_tokenizer

JUDGED_SIZES = (128, 64, 32)
BARS = {"rendered": 0.99, "reconstructed": 0.97}


def is_shown(wish: Wish, scene: Scene) -> bool:
    """Return whether a scene shows what a caption asks for, whatever its own says."""
    if Counter(item.pictogram for item in scene.placed) != Counter(wish.objects):
        return False
    if wish.ground not in (None, scene.ground.colour):
        return False
    if wish.relation is None:
        return True
    centres = {item.pictogram: _centre(item) for item in scene.placed}
    first, second = (centres[index] for index in wish.objects)
    return relation_holds(wish.relation, first, second)


def _centre(item: Placed) -> tuple[float, float]:
    return (item.left + BOX / 2) / PIXELS, (item.top + BOX / 2) / PIXELS


def _verdicts(own: Wish, other: Wish, image: NDArray[np.uint8]) -> tuple[bool, bool]:
    reading = read(image)
    return reading.shows(own), reading.shows(other)


def judged(scenes: Sequence[Scene]) -> list[Judged]:
    """Return scenes with what judges them.

    Raises:
        ValueError: a scene shows what every caption asks for.
    """
    others = wrong_wishes(scenes, lambda scene: scene.wish, is_shown)
    return [
        Judged(item.wish.task, item.render, partial(_verdicts, item.wish, other))
        for item, other in zip(scenes, others, strict=True)
    ]


def _shipped_tokenizer() -> ImageTokenizer:
    path = SHIPPED / "tokenizer.safetensors"
    if not path.is_file():
        raise WeightsError(f"{path}: expected the shipped tokenizer, found none; give one with --tokenizer FILE")
    return load_tokenizer(path)


PICTOGRAMS = Evaluated(
    TASKS,
    lambda per_task, first: judged(list(held_out_scenes(per_task, first))),
    _shipped_tokenizer,
    JUDGED_SIZES,
    BARS,
)


@command
def main() -> int:
    """Measure, print, and return 1 where an accuracy stays below its bar."""
    parser = command_parser("reference.pictograms.accuracy", __doc__)
    evaluator_accuracy.add_arguments(parser, TASKS, 600)
    parser.add_argument("--tokenizer", type=user_path, help="file of the one that reconstructs; default: the shipped")
    arguments = parser.parse_args()
    evaluator_accuracy.check_arguments(parser, arguments)
    given: Path | None = arguments.tokenizer
    world = PICTOGRAMS if given is None else replace(PICTOGRAMS, tokenizer=partial(load_tokenizer, given))
    return evaluator_accuracy.run(world, arguments.scenes, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

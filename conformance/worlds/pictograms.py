"""The world of pictograms: drawings of Noto Emoji, placed by captions alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.worlds.world import HeldOut, World, WorldError
from mulo_sd.engines.text import PromptError
from mulo_sd.reference.models import Models
from mulo_sd.reference.pictograms import shipped
from mulo_sd.reference.pictograms.captions import TASKS, CaptionError, Wish, parse
from mulo_sd.reference.pictograms.evaluate import caption_holds
from mulo_sd.reference.pictograms.scenes import HELD_OUT_SPLIT, scene
from mulo_sd.reference.trained import Trained
from mulo_sd.reference.weights import WeightsError


def _wish(caption: str) -> Wish:
    try:
        return parse(caption)
    except CaptionError as error:
        raise PromptError(str(error)) from None


class PictogramsWorld(World):
    """One to three pictograms of a sheet, on grounds of eight colours.

    Args:
        load: Loads its models.
    """

    name = "pictograms"
    title = "the pictograms"
    family = "captioned"
    tasks = TASKS
    example = "two keys"

    def __init__(self, load: Callable[[], Trained] = shipped.load) -> None:
        self._load = load

    def held_out_prompt(self, task_number: int, index: int) -> HeldOut:
        task = TASKS[task_number]
        item = scene(index, HELD_OUT_SPLIT, task)
        return HeldOut(task, task_number, index, item.caption, None, item.render)

    def check(self, prompt: str) -> None:
        _wish(prompt)

    def holds(self, prompt: str, image: NDArray[np.uint8]) -> bool:
        wish = _wish(prompt)
        try:
            return caption_holds(wish, image)
        except ValueError as error:  # of its size
            raise WorldError(str(error)) from None

    def models(self) -> Models:
        try:
            return self._load().models
        except WeightsError as error:
            raise WorldError(str(error)) from None

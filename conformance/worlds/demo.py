"""The demo's world: coloured shapes, placed by plans."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.worlds.world import HeldOut, World, WorldError
from mulo_sd.engines.prompts import parse
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.reference import demo
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.demo.scenes import HELD_OUT_SPLIT, scene
from mulo_sd.reference.models import Models
from mulo_sd.reference.weights import WeightsError


class DemoWorld(World):
    """See docs/demo.md."""

    name = "demo"
    title = "the demo"
    family = "demo"
    tasks = TASKS
    example = "three green stars"

    def held_out_prompt(self, task_number: int, index: int) -> HeldOut:
        task = TASKS[task_number]
        item = scene(index, HELD_OUT_SPLIT, task)
        return HeldOut(task, task_number, index, item.prompt.text, item.plan, item.render)

    def check(self, prompt: str) -> None:
        parse(prompt)

    def holds(self, prompt: str, image: NDArray[np.uint8]) -> bool:
        return prompt_holds(parse(prompt), image)

    def models(self) -> Models:
        try:
            return demo.load()
        except WeightsError as error:
            raise WorldError(str(error)) from None

"""The demo's scenes as training examples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.prompts.prefix import PREFIX_LENGTH, PREFIX_VOCABULARY, null_prefix, prefix_from_plan
from mulo_sd.reference.demo.scenes import HELD_OUT_SPLIT, Scene, scene


@dataclass(frozen=True)
class SceneExample:
    """A scene, asked for by its prompt and its plan."""

    scene: Scene

    def render(self, size: int) -> NDArray[np.uint8]:
        """Return UInt8[size, size, 3]."""
        return self.scene.render(size)

    def condition(self) -> NDArray[np.int64]:
        """Return the prefix of prompt and plan, Int[P, fields]."""
        return prefix_from_plan(self.scene.prompt, self.scene.plan)

    def focus(self, side: int) -> NDArray[np.bool_]:
        """Return the cells of the planned objects, with a margin, Bool[side, side]."""
        y, x = (np.mgrid[:side, :side] + 0.5) / side
        inside = np.zeros((side, side), dtype=np.bool_)
        for planned in self.scene.plan.objects:
            reach = 1.25 * planned.radius + 1 / side
            inside |= np.maximum(np.abs(x - planned.centre[0]), np.abs(y - planned.centre[1])) <= reach
        return inside


class DemoExamples:
    """The endless stream of scenes."""

    prefix_length = PREFIX_LENGTH
    prefix_vocabulary = PREFIX_VOCABULARY

    def training(self, index: int) -> SceneExample:
        """Return an example of the training split."""
        return SceneExample(scene(index))

    def held_out(self, index: int) -> SceneExample:
        """Return an example of the held-out split."""
        return SceneExample(scene(index, HELD_OUT_SPLIT))

    def null_condition(self) -> NDArray[np.int64]:
        """Return the prefix that asks for nothing."""
        return null_prefix()

"""Pictograms as training examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.pictograms.captions import TASKS, Task
from mulo_sd.reference.pictograms.scenes import BOX, HELD_OUT_SPLIT, PIXELS, TRAINING_SPLIT, Scene, scene

# Of the examples to learn from. What asks for several pictograms is learned last, and shows most of them.
TRAINING_SHARES: Mapping[Task, float] = MappingProxyType(
    {"single_object": 0.1, "two_object": 0.3, "counting": 0.2, "colors": 0.1, "position": 0.3}
)
CAPTIONS_FILE = Path(__file__).parent / "sheet" / "captions.json"
PREFIX_LENGTH = 20  # ids; the longest caption has 10


@dataclass(frozen=True)
class PictogramExample:
    """A scene with its caption as ids."""

    scene: Scene
    captions: CaptionIds

    @property
    def caption(self) -> str:
        return self.scene.caption

    def render(self, size: int) -> NDArray[np.uint8]:
        """Return UInt8[size, size, 3]."""
        return self.scene.render(size)

    def condition(self) -> NDArray[np.int64]:
        """Return the caption's prefix, Int[P, 1]."""
        return self.captions.condition(self.scene.caption)

    def focus(self, side: int) -> NDArray[np.bool_]:
        """Return the cells of the pictograms' boxes, Bool[side, side]; all, where the caption names the ground, too."""
        if self.scene.wish.ground is not None:
            return np.ones((side, side), dtype=np.bool_)
        cells = np.zeros((side, side), dtype=np.bool_)
        for item in self.scene.placed:
            top, left = item.top * side // PIXELS, item.left * side // PIXELS
            bottom, right = (-(-(edge + BOX) * side // PIXELS) for edge in (item.top, item.left))
            cells[top:bottom, left:right] = True
        return cells


class PictogramExamples:
    """The endless stream of scenes."""

    prefix_length = PREFIX_LENGTH

    def __init__(self) -> None:
        self.captions = CaptionIds(Tokenizer.from_file(str(CAPTIONS_FILE)), PREFIX_LENGTH)

    @property
    def prefix_vocabulary(self) -> int:
        return self.captions.vocabulary

    def training(self, index: int) -> PictogramExample:
        """Return an example of the training split, its task drawn by `TRAINING_SHARES`."""
        shares = [TRAINING_SHARES[task] for task in TASKS]
        task = TASKS[int(np.random.default_rng([0x5441534B, index]).choice(len(TASKS), p=shares))]
        return PictogramExample(scene(index, TRAINING_SPLIT, task), self.captions)

    def held_out(self, index: int) -> PictogramExample:
        """Return an example of the held-out split."""
        return PictogramExample(scene(index, HELD_OUT_SPLIT), self.captions)

    def null_condition(self) -> NDArray[np.int64]:
        """Return the prefix that asks for nothing."""
        return self.captions.null_condition()

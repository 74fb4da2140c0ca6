"""Frames: the steps of a decode, each as an image, a map of its cells and a title, in values that JSON has."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from PIL import Image

from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.service.image import partial_image
from mulo_sd.engines.service.steps import Kind, Step, begins
from mulo_sd.engines.viewer.titles import Titles, detail_of

Decode = Callable[[Tokens], Image.Image]


class Frame(TypedDict):
    """A step to look at.

    Attributes:
        title: What happens, in a line.
        detail: The passes until then, by model.
        kind: What the model is at.
        model: Whose grid it is: 0 is the target.
        passes: Made until then, by the name of the model.
        rows: Of the grid.
        columns: Of the grid.
        cells: A digit a cell, row by row: the numbers of `Cell`.
        decided: How many cells are decided.
        image: A PNG in a data URL; grey where there is no token.
    """

    title: str
    detail: str
    kind: Kind
    model: int
    passes: dict[str, int]
    rows: int
    columns: int
    cells: str
    decided: int
    image: str


class FrameMaker:
    """Makes the frames of one decode, in the order of its steps: a title tells what has changed since the last one."""

    def __init__(self, decode: Decode) -> None:
        """Prepare for a decode.

        Args:
            decode: Makes an image of tokens, Int[h, w], of any grid: `Pipeline.image_from_tokens`.
        """
        self._decode, self._titles = decode, Titles()

    def frame(self, step: Step) -> Frame:
        """Return the frame of the next step."""
        rows, columns = step.cells.shape
        return Frame(
            title=self._titles.title(step),
            detail=detail_of(step),
            kind=step.kind,
            model=step.model,
            passes=dict(step.passes),
            rows=rows,
            columns=columns,
            cells="".join(map(str, step.cells.ravel().tolist())),
            decided=step.decided,
            image=_data_url(partial_image(step.shown, self._decode)),
        )


def frames_of(steps: Sequence[Step], decode: Decode) -> list[Frame]:
    """Return the frames of a decode.

    Args:
        steps: In their order; some may be left out.
        decode: As for `FrameMaker`.
    """
    maker = FrameMaker(decode)
    return [maker.frame(step) for step in steps]


def chosen_steps(steps: Sequence[Step], most: int) -> list[Step]:
    """Thin the steps of a decode evenly.

    The first and the last step stay, and every one at which another model is at work, or the model at something else:
    where there are more than `most` of those, it is they alone.

    Args:
        steps: In their order.
        most: How many to keep, at least 1.
    """
    if len(steps) <= most:
        return list(steps)
    first = map(begins, [None, *steps], steps)
    kept = {number for number, is_first in enumerate(first) if is_first} | {len(steps) - 1}
    others = [number for number in range(len(steps)) if number not in kept]
    # The middles of equal parts, so that as many are left out before the first of them as behind the last.
    places = (np.arange(max(0, most - len(kept))) + 0.5) * len(others) / max(1, most - len(kept))
    kept.update(others[int(place)] for place in places)
    return [steps[number] for number in sorted(kept)]


def _data_url(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"

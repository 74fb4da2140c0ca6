"""A decode step by step: what stands in the grid of the model at work, and what has become of each cell."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.loop.verify import BESIDE, KEPT, REJECTED
from mulo_sd.engines.rules.trace import maker_of_passes

# A coarse grid is drawn; drafts stand where no verification has judged them; they are judged, and what is rejected is
# drawn again; without drafts the image is drawn; all cells are decided.
Kind = Literal["draft", "proposal", "verified", "drawing", "decided"]

# A decode of more passes keeps every second of them, then every fourth, and so on, and those that begin something else.
MAX_STEPS = 256


class Cell(IntEnum):
    """What has become of a cell."""

    EMPTY = 0  # no token yet
    GUESS = 1  # a guess, where there was no draft to take as one
    DRAFT = 2  # a draft token that nobody has judged
    KEPT = 3  # a draft token that stays
    REJECTED = 4  # a draft token that another will replace
    BESIDE = 5  # a draft token that is drawn again, since one near it is rejected
    SAMPLED = 6  # drawn from the model's own distribution


@dataclass(frozen=True, eq=False)
class Step:
    """One model's grid at one moment.

    Attributes:
        number: Of the decode's steps, from 1 on.
        passes: Made until then, by the model's name; prefills are passes.
        model: Whose grid it is: 0 is the target.
        is_draft: Whether it draws on its own what a finer grid takes for a draft.
        tokens: Int[H, W]; -1 where there is none.
        cells: UInt8[H, W], a `Cell` each.
    """

    number: int
    passes: Mapping[str, int]
    model: int
    is_draft: bool
    tokens: Tokens
    cells: NDArray[np.uint8]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many cells there are of each kind."""
        return tuple(np.bincount(self.cells.ravel(), minlength=len(Cell)).tolist())

    @property
    def decided(self) -> int:
        """How many cells are decided."""
        return self.counts[Cell.KEPT] + self.counts[Cell.SAMPLED]

    @property
    def kind(self) -> Kind:
        """What the model is at."""
        if self.is_draft:
            return "draft"
        if self.decided == self.cells.size:
            return "decided"
        if self.counts[Cell.REJECTED] or self.counts[Cell.BESIDE]:
            return "verified"
        return "proposal" if self.counts[Cell.DRAFT] else "drawing"

    @property
    def shown(self) -> Tokens:
        """The tokens that are worth a look, Int[H, W]: decided ones and drafts; -1 elsewhere, guesses included."""
        return np.where(self.cells > Cell.GUESS, self.tokens, -1)


def step_of(number: int, passes: Mapping[str, int], decoder: Decoder, state: ModelState) -> Step:
    """Return a model's grid as it stands.

    Args:
        number: Of the step.
        passes: Made until now, by the model's name.
        decoder: Decodes.
        state: Of the model.
    """
    cells = OF_VERDICTS[state.verdicts]
    cells[state.grid < 0] = Cell.EMPTY
    cells[state.guessed] = Cell.GUESS
    cells[state.decided & (state.verdicts != KEPT)] = Cell.SAMPLED
    shape = (state.height, state.width)
    is_draft = state.number != 0 and state is decoder.states[-1]
    return Step(number, passes, state.number, is_draft, state.grid.reshape(shape).copy(), cells.reshape(shape))


# What a cell with a token is by the verdict on it; 0 is none.
OF_VERDICTS = np.full(max(KEPT, REJECTED, BESIDE) + 1, Cell.DRAFT, dtype=np.uint8)
OF_VERDICTS[[KEPT, REJECTED, BESIDE]] = Cell.KEPT, Cell.REJECTED, Cell.BESIDE


def begins(before: Step | None, step: Step) -> bool:
    """Whether another model is at work than in the step before, or the model is at something else."""
    return before is None or (before.model, before.kind) != (step.model, step.kind)


class StepRecorder:
    """Keeps the steps of one decode, up to a number of them; `Hooks.watch` and `Hooks.step` take its methods."""

    def __init__(self, most: int = MAX_STEPS, changed: Callable[[], None] = lambda: None) -> None:
        """Prepare for a decode.

        Args:
            most: Steps that are kept at once, 2 or more: where there are more, every second one is dropped, but first
                of all none at which another model is at work, or the model at something else.
            changed: Called when there is a new step, in the thread that decodes.
        """
        self.most, self.changed = most, changed
        self.steps: list[Step] = []
        self._decoder: Decoder | None = None
        self._every, self._left_out, self._number = 1, 0, 0
        self._passes = Counter[str]()

    def watch(self, decoder: Decoder) -> None:
        """Begin."""
        self._decoder = decoder

    def step(self, decoder: Decoder, state: ModelState) -> None:
        """Keep a step, unless it is one of those that are left out."""
        self._left_out += 1
        step = self._step(decoder, state)
        if self._left_out >= self._every or begins(self.steps[-1] if self.steps else None, step):
            self._left_out = 0
            self._add(step)

    def end(self) -> None:
        """Keep the result as the last step, whatever was left out, and nothing that the decode needed."""
        if self._decoder is not None:
            self._add(self._step(self._decoder, self._decoder.states[0]))
            self._decoder = None

    def _step(self, decoder: Decoder, state: ModelState) -> Step:
        self._number += 1
        new = decoder.trace.passes[self._passes.total() :]
        self._passes.update(maker_of_passes(item.model) for item in new)
        return step_of(self._number, dict(self._passes), decoder, state)

    def _add(self, step: Step) -> None:
        steps = [*self.steps, step]
        if len(steps) > self.most:
            first = list(map(begins, [None, *steps], steps))
            thinned = [item for at, item in enumerate(steps[:-1]) if first[at] or at % 2 == 0]
            steps = [*(thinned if len(thinned) < self.most else steps[:-1:2]), step]
            self._every *= 2
        self.steps = steps  # as a whole: other threads read it
        self.changed()

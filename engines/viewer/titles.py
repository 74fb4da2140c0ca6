"""What happens at a step of a decode, in words for somebody who has not read the paper."""

import numpy as np

from mulo_sd.engines.rules.trace import maker_of_passes
from mulo_sd.engines.service.steps import Cell, Step


def detail_of(step: Step) -> str:
    """Return the passes until then, by model."""
    made = [f"{count:,} of {_the(_words(name))}" for name, count in step.passes.items() if count]
    return f"Passes: {', '.join(made) or 'none yet'}."


class Titles:
    """Makes the titles of one decode's steps, in their order."""

    def __init__(self) -> None:
        self._before: Step | None = None
        self._is_judged = False  # whether the model at work has verified what it works on

    def title(self, step: Step) -> str:
        """Return the next step's title."""
        before = self._before if self._before is not None and self._before.model == step.model else None
        goes_on = before is not None and self._is_judged and _left(step) <= _left(before)
        self._before, self._is_judged = step, step.kind == "verified" or goes_on
        if step.kind == "decided":
            return "The result" if step.model == 0 else f"{_capital(_name(step.model))}'s grid is decided"
        if step.kind == "draft":
            return f"{_capital(_name(step.model))} draws a coarse draft, {_size(step)}: {_decided(step)}"
        if goes_on:
            return f"{_of(step, 'Islands are drawn again')}: {_tokens(_left(step))} left"
        if step.kind == "verified":
            return _verified(step, before)
        if step.kind == "proposal" and (before is None or _drafts(step) > _drafts(before)):
            return _proposed(step)
        return f"{_of(step, 'Drawing')}: {_decided(step)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _the(name: str) -> str:
    """Return a name as it stands in a sentence: drafters have numbers, and the others are one of a kind."""
    return name if name[-1].isdigit() else f"the {name}"


def _tokens(count: int) -> str:
    return f"{count:,} {'token' if count == 1 else 'tokens'}"


def _name(model: int) -> str:
    return _words(maker_of_passes(model))


def _verified(step: Step, before: Step | None) -> str:
    """Return the title of a verification; how many tokens it judged is known where the proposal was seen."""
    rejected, beside = step.counts[Cell.REJECTED], step.counts[Cell.BESIDE]
    judged = "" if before is None else f" of {int(((before.cells == Cell.DRAFT) & (step.cells >= Cell.KEPT)).sum()):,}"
    more = f", and {beside:,} beside them drawn again" if beside else ""
    by = "" if step.model == 0 else f" by {_name(step.model)}"
    return f"Verified{by}: {rejected:,}{judged} tokens rejected{more}"


def _proposed(step: Step) -> str:
    rows = np.flatnonzero((step.cells == Cell.DRAFT).any(axis=1))
    part = "" if len(rows) == len(step.cells) else f", rows {rows[0] + 1} to {rows[-1] + 1}"
    return f"The draft, up-sampled to {_size(step)}{part}: {_the(_name(step.model))}'s proposal"


def _of(step: Step, what: str) -> str:
    return what if step.model == 0 else f"{_capital(_name(step.model))}: {what[0].lower()}{what[1:]}"


def _decided(step: Step) -> str:
    return f"{step.decided:,} of {step.cells.size:,} tokens"


def _drafts(step: Step) -> int:
    return step.counts[Cell.DRAFT]


def _left(step: Step) -> int:
    """Return how many drafts are not decided."""
    return sum(step.counts[cell] for cell in (Cell.DRAFT, Cell.REJECTED, Cell.BESIDE))


def _size(step: Step) -> str:
    return " x ".join(map(str, step.cells.shape))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]

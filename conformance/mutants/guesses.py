"""Mutants of guesses: which are made first, and what a pass feeds of them (SWEEP-3, SWEEP-5, KV-1, KV-3)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched, swept
from mulo_sd.conformance.mutants.sweeps import made, settles
from mulo_sd.engines.loop import state
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.rules.slots import SlotTable
from mulo_sd.engines.rules.sweeps import Sweeps


class _FeedsNoGuesses(Sweeps):
    """Feed the predecessors of what is sampled alone: a guess between two islands' cells is left out."""

    def guessed(self, unfed: set[int]) -> list[int]:
        return [cell for region in self._swept() for cell in region[:-1].tolist() if cell not in unfed]


def _wrong_guess_is_kept(right: Any, model: ModelState, cells: Any, tokens: Tokens, decided: Any, source: Any) -> None:
    """Take the keys and values of a wrong guess for those of the decided token."""
    right(model, cells, tokens, decided, source)
    fed = set((source.positions - model.entry.prefix_length).tolist())
    model.pending.difference_update(fed.intersection(np.asarray(cells)[decided].tolist()))


def _all_is_fed_again(right: Any, model: ModelState, cells: Any, tokens: Tokens, decided: Any, source: Any) -> None:
    """Feed what was guessed right once more."""
    right(model, cells, tokens, decided, source)
    model.pending.update(np.asarray(cells)[decided].tolist())


def _settled_before(right: Any, model: ModelState, cells: Any, tokens: Tokens, decided: Any, source: Any) -> None:
    """Forget to feed new guesses whose cells were fed before."""
    before = set(model.unfed)
    right(model, cells, tokens, decided, source)
    model.unfed &= before


def _first_guess_of(by: int) -> Any:
    """Guess the token of another column of the row above."""

    def first_guesses(right: Any, kind: str, grid: Tokens, width: int, *rest: Any) -> Tokens:
        return np.asarray(right(kind, grid, width + by if kind == "above" else width, *rest))

    return first_guesses


def _always(kind: str) -> Any:
    return lambda right, asked, *rest: right(kind, *rest)


def _one_opening(right: Any, model: ModelState, cells: Any) -> Tokens:
    """Draw one token from the distribution of cell 0 for all."""
    return np.repeat(right(model, [0]), len(cells))


def _guesses_anew(right: Any, model: ModelState, cells: Any) -> None:
    """Guess every cell of a pass by the rule of first guesses, what it holds forgotten."""
    forgotten: set[int] = model.__dict__.setdefault("forgotten", set())
    fresh = [cell for cell in cells if cell not in forgotten]
    forgotten.update(fresh)
    model.grid[fresh] = -1
    right(model, cells)


def _query(feeds: Callable[[ModelState, list[int], set[int]], set[int]]) -> Make:
    """Change what a pass feeds beside what `also_feed` names: a function of the model, the cells and what it feeds."""

    def query(right: Any, model: ModelState, cells: Any, also_feed: Any = ()) -> Answer:
        wanted = {cell - 1 for cell in cells if cell > 0}
        wanted.update(cell for cell in (*model.pending, *also_feed) if cell < cells[-1])
        changed = feeds(model, list(cells), wanted)
        extra = {cell for cell in changed - wanted if model.grid[cell] >= 0}
        if not extra:
            return right(model, cells, also_feed)  # type: ignore[no-any-return]
        queried = [*cells, max(extra) + 1]
        return right(model, queried, [*also_feed, *extra]).only(cells)  # type: ignore[no-any-return]

    return patched(ModelState, "query", query)


def _nothing_waits(model: ModelState, cells: list[int], wanted: set[int]) -> set[int]:
    """Feed what is decided before a query sees it."""
    return wanted | {cell for cell in model.pending if cell > cells[-1]}


def _unseen_is_dropped(right: Any, model: ModelState, cells: Any, also_feed: Any = ()) -> Answer:
    """Forget what is decided and no query of the pass sees."""
    answer: Answer = right(model, cells, also_feed)
    model.pending.clear()
    return answer


def _predecessor_stays(right: Any, model: ModelState, cells: Any, also_feed: Any = ()) -> Answer:
    """Feed no predecessor that was fed with its token before, and take the scores of the next cell instead."""
    before = cells[0] - 1
    if len(cells) < 2 or before < 0 or before in model.pending | model.unfed:
        return right(model, cells, also_feed)  # type: ignore[no-any-return]
    answer = right(model, cells[1:], also_feed)
    rows = np.concatenate([answer.rows[:1], answer.rows])
    return Answer(np.array(cells), rows, answer.scores, answer.first, answer.where)


def _tail_overwrites(right: Any, table: SlotTable, positions: Tokens, at_end: bool) -> int:
    """Write over the tail of a cache whatever positions have slots elsewhere."""
    if len(positions) and table.reuse:
        first = int(table.slot_of_position[positions[0]])
        if first >= 0 and table.used - first < len(positions):
            return first
    return int(right(table, positions, at_end))


MUTANTS = swept(
    Mutant("keys and values of a wrong guess stay", "KV-3", settles(_wrong_guess_is_kept)),
    Mutant("what was guessed right is fed again", "SWEEP-3", settles(_all_is_fed_again)),
    Mutant("a last guess that is new is not fed", "SWEEP-3", settles(_settled_before)),
    Mutant("guesses are fed as predecessors alone", "SWEEP-3", made(_FeedsNoGuesses)),
    Mutant("a decided token that no query sees is dropped", "KV-3", patched(ModelState, "query", _unseen_is_dropped)),
    Mutant("a decided token is fed before a query sees it", "KV-3", _query(_nothing_waits)),
    Mutant("the first guess is above to the right", "SWEEP-5", patched(state, "first_guesses", _first_guess_of(-1))),
    Mutant("the first guess is above to the left", "SWEEP-5", patched(state, "first_guesses", _first_guess_of(1))),
    Mutant("the first guess is always to the left", "SWEEP-5", patched(state, "first_guesses", _always("left"))),
    Mutant("the first guess is always above", "SWEEP-5", patched(state, "first_guesses", _always("above"))),
    Mutant("openings are all the draw of cell 0", "SWEEP-5", patched(ModelState, "_opening", _one_opening)),
    Mutant("a first guess forgets the draft", "SWEEP-5", patched(ModelState, "guess", _guesses_anew)),
    Mutant("a sweep overwrites what slots hold", "KV-1", patched(SlotTable, "_reusable", _tail_overwrites)),
    Mutant("a predecessor that was fed is not fed again", "GRID-2", patched(ModelState, "query", _predecessor_stays)),
)

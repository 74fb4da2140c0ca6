"""Mutants of the order in which cells are decided (LOCAL-2, SCHED-1 to SCHED-5, the modes)."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mulo_sd.conformance.mutants.mutant import Mutant, patched
from mulo_sd.engines.loop import decode, execute, verify
from mulo_sd.engines.loop.execute import Openings
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.parts import Order
from mulo_sd.engines.rules import schedule
from mulo_sd.engines.rules.schedule import Schedule
from mulo_sd.engines.settings import Settings


def _four_connected(right: Any, mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    labels, count = ndimage.label(mask)
    islands = [np.flatnonzero(labels.ravel() == number) for number in range(1, count + 1)]
    return sorted(islands, key=lambda island: int(island[0]))


def _window_plus(by: int) -> Any:
    """Make windows wider."""

    def schedule_of(right: Any, cells: Any, order: Order, settings: Settings, *rest: Any) -> Any:
        window = settings.named(order.window, None)
        changes = {} if order.window is None or window is None else {order.window: max(1, window + by)}
        return right(cells, order, settings.changed(**changes), *rest)

    return schedule_of


def _by_island(by_island: bool) -> Any:
    """Take islands for regions of their own, or all for one."""

    def schedule_of(right: Any, cells: Any, order: Order, settings: Settings, *rest: Any) -> Any:
        changes = {} if order.by_island is None else {order.by_island: by_island}
        return right(cells, order, settings.changed(**changes), *rest)

    return schedule_of


def _in_raster_order(right: Any, cells: Any, order: Order, *rest: Any) -> Any:
    return right(cells, replace(order, window=None), *rest)


def _fresh_predecessors(
    right: Any, state: ModelState, plan: Any, verified: Any = None, *arguments: Any, **named: Any
) -> None:
    """Decide the cells of a step one after another: a later one reads what an earlier one has just become."""
    if isinstance(plan, Schedule):
        ready = plan.ready
        plan.ready = lambda: ready()[:1]  # type: ignore[method-assign]
    right(state, plan, verified, *arguments, **named)


def _no_shared_step(
    right: Any, state: ModelState, plan: Any, verified: Any = None, *arguments: Any, **named: Any
) -> None:
    """Make a pass for the first step, too."""
    if verified is not None and verified.anchor is None:
        cells = plan.ready()
        if cells and cells != [0]:
            state.query(cells)
    right(state, plan, verified, *arguments, **named)


def _first_of_the_row(right: Any, state: ModelState, cell: int) -> int:
    return int(state.grid[cell // state.width * state.width])


def _left_neighbour_above(right: Any, state: ModelState, cell: int) -> int:
    """Take the token above the missing one."""
    above = cell - state.width
    return int(state.grid[above]) if above >= 0 and int(state.grid[above]) >= 0 else int(right(state, cell))


def _opens_at_once(right: Any, openings: Openings, cells: list[int], logits: Any) -> Any:
    tokens = openings.state.sample(cells, logits)
    return cells, tokens


def _inverse_ratio(right: Any, token: int, old: Any, new: Any, draw: float, noise: Any) -> Any:
    return right(token, new, old, draw, noise)


def _drawn_from_p_new(right: Any, token: int, old: Any, new: Any, draw: float, noise: Any) -> Any:
    drawn, kept = right(token, old, new, draw, noise)
    return (drawn, kept) if kept else (int((new + noise).argmax()), False)


MUTANTS = (
    Mutant("islands are connected by their sides only", "LOCAL-2", patched(schedule, "islands", _four_connected)),
    Mutant("a window is one wider", "SCHED-1", patched(decode, "schedule_of", _window_plus(1))),
    Mutant("a window is one narrower", "SCHED-1", patched(decode, "schedule_of", _window_plus(-1))),
    Mutant("the islands' window is one wider", "SCHED-1", patched(verify, "schedule_of", _window_plus(1))),
    Mutant("islands wait for each other", "SCHED-2", patched(verify, "schedule_of", _by_island(False))),
    Mutant("islands advance although they are off", "SCHED-2", patched(verify, "schedule_of", _by_island(True))),
    Mutant("the drafter draws in raster order", "SCHED-1", patched(decode, "schedule_of", _in_raster_order)),
    Mutant(
        "tokens are read after a step, and not before it", "SCHED-1", patched(verify, "execute", _fresh_predecessors)
    ),
    Mutant("the first step of resampling takes a pass", "SCHED-4", patched(verify, "execute", _no_shared_step)),
    Mutant("the first token of a row stands in", "SCHED-3", patched(ModelState, "_stand_in", _first_of_the_row)),
    Mutant("the token above stands in", "SCHED-3", patched(ModelState, "_stand_in", _left_neighbour_above)),
    Mutant("opening tokens are not held", "KV-3", patched(Openings, "sample", _opens_at_once)),
    Mutant("an opening token is kept by p_old / p_new", "SCHED-5", patched(execute, "predict_again", _inverse_ratio)),
    Mutant(
        "an opening token is drawn anew from all of p_new",
        "SCHED-5",
        patched(execute, "predict_again", _drawn_from_p_new),
    ),
)

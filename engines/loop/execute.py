"""The executor: it decides the cells of a schedule, step by step; the engines' twin of `reference.execute`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import acceptance_stream, gumbel_noise, sample_stream, uniform_noise
from mulo_sd.engines.rules.schedule import Schedule
from mulo_sd.engines.rules.sweeps import Sweeps
from mulo_sd.engines.rules.trace import Reprediction, Sweep


@dataclass(frozen=True)
class Verified:
    """What a verification leaves to resampling: the logits of its first step (SCHED-4), and the anchor.

    Attributes:
        answer: Of all cells of the window.
        source_pass: The pass of the trace that they come from.
        anchor: ANCHOR-1; None draws from p alone.
    """

    answer: Answer
    source_pass: int
    anchor: Anchor | None


def execute(
    state: ModelState,
    schedule: Schedule | Sweeps,
    verified: Verified | None = None,
    adaptive_window: bool = False,
    progress: Callable[[int], None] = lambda decided: None,
) -> None:
    """Decide all cells of a schedule; each step is one pass.

    Args:
        state: The model; mutated.
        schedule: Mutated until nothing is left.
        verified: For resampling: the first step needs no pass (SCHED-4).
        adaptive_window: SCHED-5.
        progress: Told after each step how many cells it decided.
    """
    openings = Openings(state)
    anchor = None if verified is None else verified.anchor
    while cells := schedule.ready():
        source_pass = None
        if verified is not None:
            answer = verified.answer.only(cells)
            source_pass, verified = verified.source_pass, None
        else:
            guessed = schedule.guessed(state.unfed)
            state.guess(guessed)
            answer = state.query(cells, guessed)
        if adaptive_window:
            cells, tokens = openings.sample(cells, answer)
        else:
            tokens = state.sample(cells, answer, source_pass, anchor)
        guesses = state.grid[cells]
        decided = schedule.settle(cells, guesses, tokens)
        if isinstance(schedule, Sweeps):
            source = state.origin(cells[-1], source_pass)[0]
            state.settle(cells, tokens, decided, source)
            source.sweeps.append(Sweep(np.array(cells, dtype=np.int64), guesses, tokens, decided))
        else:
            state.decide(cells, tokens)
        progress(int(decided.sum()))


class Openings:
    """The first tokens of rows whose upper row is unfinished, predicted again as it grows (SCHED-5)."""

    def __init__(self, state: ModelState) -> None:
        self.state = state
        self.held: dict[int, tuple[int, NDArray[np.float32], int]] = {}  # cell -> token, its log p, attempts made

    def sample(self, cells: list[int], answer: Answer) -> tuple[list[int], Tokens]:
        """Sample the cells of a step; return those that are decided and their tokens."""
        decided, tokens = [], []
        for cell in cells:
            row = answer.only([cell])
            is_open = self.state.is_open(cell)
            if cell in self.held:
                token, log_probs, kept = self._predict_again(cell, row)
            else:
                sampled, all_log_probs = self.state.sample_openly([cell], row)
                token, log_probs, kept = int(sampled[0]), all_log_probs[0], not is_open
            if kept or not is_open:
                decided.append(cell)
                tokens.append(token)
            else:
                self.held[cell] = (token, log_probs, self.held[cell][2] + 1 if cell in self.held else 1)
        return decided, np.array(tokens, dtype=np.int64)

    def _predict_again(self, cell: int, answer: Answer) -> tuple[int, NDArray[np.float32], bool]:
        state, positions = self.state, np.array([cell])
        held_token, held_log_probs, attempt = self.held[cell]
        noise = gumbel_noise(state.seed, sample_stream(state.number), positions, state.entry.vocabulary, attempt)
        _, all_log_probs = answer.draw(state.distribution, noise)
        log_probs = all_log_probs[0]
        draw = float(uniform_noise(state.seed, acceptance_stream(state.number), positions, attempt=attempt)[0, 0])
        token, kept = predict_again(held_token, held_log_probs, log_probs, draw, noise[0])
        origin, row = state.origin(cell)
        origin.repredicted.append(Reprediction(row, cell, attempt, held_token, kept, token))
        return token, log_probs, kept


def predict_again(
    held_token: int,
    held_log_probs: NDArray[np.float32],
    log_probs: NDArray[np.float32],
    draw: float,
    noise: NDArray[np.float32],
) -> tuple[int, bool]:
    """Return the token to hold now, and whether it is the one held before (SCHED-5).

    Args:
        held_token: Drawn from `held_log_probs`.
        held_log_probs: Float32[V], log p_old.
        log_probs: Float32[V], log p_new.
        draw: U of this attempt: the token is kept if U * p_old < p_new.
        noise: Float32[V], of this attempt, for a token from the positive part of p_new - p_old.
    """
    new, old = np.exp(log_probs), np.exp(held_log_probs)
    if draw * float(old[held_token]) < float(new[held_token]):
        return held_token, True
    with np.errstate(divide="ignore"):  # log 0 is -inf: never drawn
        return int((np.log(np.maximum(new - old, 0)) + noise).argmax()), False

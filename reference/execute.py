"""The executor: it decides the cells of a schedule, step by step (SCHED-1 to SCHED-5, SWEEP-1 to SWEEP-5)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.noise import acceptance_stream, uniform_noise
from mulo_sd.reference.schedule import Schedule
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.sweeps import Sweeps
from mulo_sd.reference.trace import Reprediction, Sweep


@dataclass(frozen=True)
class Verified:
    """What a verification leaves to resampling: the distributions of its first step (SCHED-4), and the anchor.

    Attributes:
        log_probs: Float[n, V], of n cells from `first_cell` on.
        first_cell: Grid position.
        source_pass: The pass of the trace that they come from.
        anchor: ANCHOR-1; None draws from p alone.
    """

    log_probs: Tensor
    first_cell: int
    source_pass: int
    anchor: Anchor | None


def execute(
    state: ModelState,
    schedule: Schedule | Sweeps,
    verified: Verified | None = None,
    adaptive_window: bool = False,
) -> None:
    """Decide all cells of a schedule; each step is one pass.

    A step reads the grid as it stood before it: all its cells are sampled before any is written.

    Args:
        state: The model; mutated.
        schedule: Mutated until nothing is left.
        verified: For resampling: the first step needs no pass (SCHED-4).
        adaptive_window: SCHED-5.
    """
    openings = Openings(state)
    anchor = None if verified is None else verified.anchor
    while cells := schedule.ready():
        if verified is not None:
            log_probs = verified.log_probs[torch.tensor(cells) - verified.first_cell]
            source_pass, verified = verified.source_pass, None
        else:
            guessed = schedule.guessed(state.unfed)
            state.guess(guessed)
            log_probs, source_pass = state.log_probs(state.query(cells, guessed)), None
        if adaptive_window:
            cells, tokens = openings.sample(cells, log_probs)
        else:
            tokens = state.sample(cells, log_probs, source_pass, anchor)
        guesses = state.grid[cells]
        decided = schedule.settle(cells, guesses, tokens)
        if isinstance(schedule, Sweeps):
            source = state.origin(cells[-1], source_pass)[0]
            state.settle(cells, tokens, decided, source)
            source.sweeps.append(Sweep(torch.tensor(cells), guesses, tokens, decided))
        else:
            state.decide(cells, tokens)


class Openings:
    """The first tokens of rows whose upper row is unfinished, predicted again as it grows (SCHED-5).

    An opening token is held back, and predicted again in the next step from a stand-in one token further.
    It is accepted with probability min(1, p_new / p_old), and its row opens; else a new token is drawn from
    the positive part of p_new - p_old and held in its place. Once the upper row is finished, the row opens in
    any case.
    """

    def __init__(self, state: ModelState) -> None:
        self.state = state
        self.held: dict[int, tuple[int, Tensor, int]] = {}  # cell -> token, its log p Float[V], attempts made

    def sample(self, cells: list[int], log_probs: Tensor) -> tuple[list[int], Tensor]:
        """Sample the cells of a step, Float[n, V]; return those that are decided and their tokens."""
        decided, tokens = [], []
        for index, cell in enumerate(cells):
            row = log_probs[index : index + 1]
            is_open = self.state.is_open(cell)
            if cell in self.held:
                token, kept = self._predict_again(cell, row[0])
            else:
                token, kept = int(self.state.sample([cell], row)), not is_open
            if kept or not is_open:
                decided.append(cell)
                tokens.append(token)
            else:
                self.held[cell] = (token, row[0], self.held[cell][2] + 1 if cell in self.held else 1)
        return decided, torch.tensor(tokens, dtype=torch.long)

    def _predict_again(self, cell: int, log_probs: Tensor) -> tuple[int, bool]:
        state = self.state
        held_token, held_log_probs, attempt = self.held[cell]
        new, old = log_probs.exp(), held_log_probs.exp()
        draw = float(uniform_noise(state.seed, acceptance_stream(state.number), [cell], attempt=attempt))
        kept = draw * float(old[held_token]) < float(new[held_token])
        token = held_token
        if not kept:
            residual = (new - old).clamp(min=0).log()
            token = int(state.draw([cell], residual[None], attempt))
        origin, row = state.origin(cell)
        origin.repredicted.append(Reprediction(row, cell, attempt, held_token, kept, token))
        return token, kept

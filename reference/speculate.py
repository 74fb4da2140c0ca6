"""The executor of methods that judge drafts pass by pass (METHOD-2): sweeps, chains, blocks, rounds and rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mulo_sd.reference.acceptances import ACCEPTANCES, GREEDY
from mulo_sd.reference.branches import RowDrafts
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.corrections import Prefix, Rounds, Rows, Window
from mulo_sd.reference.drafts.source import DraftSource
from mulo_sd.reference.noise import acceptance_stream, uniform_noise
from mulo_sd.reference.parts import Carry, Judging
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Speculation

# PJD keeps a draft token behind a rejection where p / q of it is above this.
KEPT_RATIO = 0.5


@dataclass(frozen=True)
class Scored:
    """A window with what its pass says of it: n cells.

    Attributes:
        window: Its cells.
        guesses: Int[n], the tokens that stand there; of no meaning where nothing is drafted.
        drafted: Bool[n].
        log_probs: Float[n, V], log p.
        draft_log_probs: Float[n, V], log q; 0 at the guess and -inf elsewhere where it is certain.
        attempts: Int[n], how many passes scored the cell before.
        places: Int[n], where each stands in what was drafted together, from 0 on.
    """

    window: Window
    guesses: Tensor
    drafted: Tensor
    log_probs: Tensor
    draft_log_probs: Tensor
    attempts: list[int]
    places: Tensor


@dataclass(frozen=True)
class Judged:
    """What acceptance makes of a window (METHOD-2).

    Attributes:
        chances: Float64[n], with which each draft token stays.
        kept: Bool[n].
        redrawn: Int[n], what is drawn where a draft token is not kept; of no meaning elsewhere.
        fresh: Int[n], samples from p.
    """

    chances: Tensor
    kept: Tensor
    redrawn: Tensor
    fresh: Tensor


def judge(state: ModelState, scored: Scored, codes: Codes, judging: Judging) -> Judged:
    """Judge the drafts of a window, and draw what may take their places (METHOD-2, METHOD-3).

    Args:
        state: The target.
        scored: The window.
        codes: The codebook, for rules that look at nearby codes.
        judging: How.
    """
    acceptance, cells = judging.acceptance, scored.window.cells
    same_noise = judging.carry == "same" or acceptance == "coupled"
    if acceptance in GREEDY:
        fresh = scored.log_probs.argmax(dim=1)
    else:
        fresh = state.draw(cells, scored.log_probs, 0 if same_noise else scored.attempts)
    if acceptance == "coupled":
        kept = scored.drafted & (fresh == scored.guesses)
        return Judged(kept.double(), kept, fresh, fresh)
    chances, redrawn = torch.zeros(len(cells), dtype=torch.float64), fresh.clone()
    rows = scored.drafted.nonzero().flatten()
    if len(rows):
        probs, draft_probs = scored.log_probs[rows].double().exp(), scored.draft_log_probs[rows].double().exp()
        rule, places = ACCEPTANCES[acceptance], scored.places[rows]
        accepted = rule(probs, draft_probs, scored.guesses[rows], places, state.settings, codes)
        chances[rows] = accepted.chances
        weights = torch.where(accepted.residuals.sum(dim=1, keepdim=True) > 0, accepted.residuals, probs)
        drawn_cells, attempts = [cells[row] for row in rows], [scored.attempts[row] + 1 for row in rows]
        redrawn[rows] = state.draw(drawn_cells, weights.log(), attempts)
    uniform = uniform_noise(state.seed, acceptance_stream(state.number), cells, attempt=scored.attempts)[:, 0]
    return Judged(chances, uniform < chances, redrawn, fresh)


def accept_certain(state: ModelState, cells: Sequence[int], log_probs: Tensor, drafts: Tensor, codes: Codes) -> Tensor:
    """Return which tokens of a whole proposal stay, Bool[n]: each is a draft that is certain (METHOD-1).

    Args:
        state: The target.
        cells: Grid positions, n of them.
        log_probs: Float[n, V], log p.
        drafts: Int[n].
        codes: The codebook.
    """
    certain = torch.full_like(log_probs, -torch.inf).scatter(1, drafts[:, None], 0.0)
    window = Window(list(cells), draws=True, drafted=len(cells))
    judging = state.settings.decoding.judging
    is_draft, places = torch.ones(len(cells), dtype=torch.bool), torch.zeros(len(cells), dtype=torch.long)
    return judge(
        state, Scored(window, drafts, is_draft, log_probs, certain, [0] * len(cells), places), codes, judging
    ).kept


def carried(scored: Scored, judged: Judged, how: Carry, later: slice) -> tuple[Tensor, Tensor]:
    """Return the next guesses of cells that are not decided, Int[m], and log q of them, Float[m, V] (METHOD-3)."""
    guesses, kept, log_probs = scored.guesses[later], judged.kept[later], scored.log_probs[later]
    if how == "coupled":
        return torch.where(kept, guesses, judged.redrawn[later]), log_probs
    if how != "kept":
        return judged.fresh[later], log_probs
    old = scored.draft_log_probs[later]
    own = guesses.clamp(min=0)[:, None]
    stays = (
        scored.drafted[later] & (log_probs.gather(1, own) > old.gather(1, own) + torch.tensor(KEPT_RATIO).log())[:, 0]
    )
    return torch.where(stays, guesses, judged.fresh[later]), torch.where(stays[:, None], old, log_probs)


def row_drafts(windows: Sequence[Window]) -> RowDrafts | None:
    """Return which cells of windows stand on which row's branch (METHOD-5); None where they are no rows."""
    queried, drafted = dict[int, int](), dict[int, int]()
    for window in windows:
        if window.branch is not None:
            queried |= dict.fromkeys(window.cells, window.branch)
            drafted |= dict.fromkeys(window.cells[:-1], window.branch)
            if window.after_stand_in:
                drafted[window.cells[0] - 1] = window.branch
    return RowDrafts(queried, drafted) if queried else None


def speculate(
    state: ModelState, correction: Prefix | Rounds | Rows, source: DraftSource, codes: Codes, judging: Judging
) -> None:
    """Decide all cells of a correction; each step is one pass.

    Args:
        state: The target; mutated.
        correction: Mutated until nothing is left.
        source: Of drafts.
        codes: The codebook.
        judging: How drafts are judged.
    """
    swept: dict[int, int] = {}
    while windows := correction.windows():
        drawn_from = source.propose(windows)
        windows = [window.until_undrafted(drawn_from) for window in windows]
        cells = sorted(cell for window in windows for cell in window.cells)
        fed = [cell for window in windows for cell in window.cells[:-1] if cell in drawn_from]
        log_probs = state.log_probs(state.query(cells, fed, row_drafts(windows) if state.number == 0 else None))
        row_of = {cell: row for row, cell in enumerate(cells)}
        scores = []
        for window in windows:
            attempts = [swept.get(cell, 0) for cell in window.cells]
            swept |= {cell: attempt + 1 for cell, attempt in zip(window.cells, attempts, strict=True)}
            rows = log_probs[[row_of[cell] for cell in window.cells]]
            guesses = state.grid[window.cells]
            drafted = torch.tensor([cell in drawn_from for cell in window.cells])
            log_q = torch.full_like(rows, -torch.inf)
            for place, cell in enumerate(window.cells):
                known = drawn_from.get(cell)
                if known is not None:
                    log_q[place] = known
                elif cell in drawn_from:
                    log_q[place, guesses[place]] = 0
            scores.append(Scored(window, guesses, drafted, rows, log_q, attempts, torch.arange(len(rows))))
        judgements = [judge(state, scored, codes, judging) for scored in scores]
        counts = correction.settle([judged.kept for judged in judgements])
        source.carry(_settle(state, scores, judgements, counts, judging.carry))


def _settle(
    state: ModelState, scores: Sequence[Scored], judgements: Sequence[Judged], counts: Sequence[int], how: Carry
) -> dict[int, Tensor | None]:
    """Put what a pass decided and the next guesses into the grid; return what the guesses were drawn from, by cell."""
    next_from = dict[int, Tensor | None]()
    for scored, judged, count in zip(scores, judgements, counts, strict=True):
        cells, later = scored.window.cells, slice(count, None)
        guesses, log_q = carried(scored, judged, how, later)
        tokens = torch.cat([torch.where(judged.kept, scored.guesses, judged.redrawn)[:count], guesses])
        decided = torch.arange(len(cells)) < count
        source = state.origin(cells[-1])[0]
        state.settle(cells, tokens, decided, source)
        next_from |= dict(zip(cells[count:], log_q, strict=True))
        kept_log_q = scored.draft_log_probs if state.record_logits else None
        source.speculated.append(
            Speculation(
                cells=torch.tensor(cells),
                guesses=scored.guesses,
                drafted=scored.drafted,
                attempts=torch.tensor(scored.attempts),
                chances=judged.chances,
                kept=judged.kept,
                tokens=tokens,
                decided=decided,
                draft_log_probs=kept_log_q,
            )
        )
    return next_from

"""The executor of methods that judge drafts pass by pass; the engines' twin of `reference.speculate`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Floats
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.loop.drafts.source import DraftSource, DrawnFrom
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.parts import Judging
from mulo_sd.engines.rules.acceptances import ACCEPTANCES, GREEDY
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.branches import RowDrafts
from mulo_sd.engines.rules.corrections import Prefix, Rounds, Rows, Window
from mulo_sd.engines.rules.noise import acceptance_stream, gumbel_noise, sample_stream, uniform_noise
from mulo_sd.engines.rules.trace import Speculation

# PJD keeps a draft token behind a rejection where p / q of it is above this.
KEPT_RATIO = 0.5


@dataclass(frozen=True)
class Scored:
    """A window with what its pass says of it; fields as in `reference.speculate`, and the samples from p beside."""

    window: Window
    guesses: Tokens
    drafted: NDArray[np.bool_]
    log_probs: Floats
    fresh: Tokens
    draft_log_probs: Floats
    attempts: Tokens
    places: Tokens


@dataclass(frozen=True)
class Judged:
    """What acceptance makes of a window; fields as in `reference.speculate`."""

    chances: NDArray[np.float64]
    kept: NDArray[np.bool_]
    redrawn: Tokens


def noise_of(state: ModelState, cells: Sequence[int] | Tokens, attempts: Tokens) -> Floats:
    """Return the Gumbel noise of cells, Float32[n, V], each of its own attempt (RNG-2)."""
    if not attempts.any():
        return state.noise.rows(cells)
    stream, vocabulary = sample_stream(state.number), state.entry.vocabulary
    return gumbel_noise(state.seed, stream, np.asarray(cells), vocabulary, attempts.tolist())


def judge_window(state: ModelState, scored: Scored, codes: Codes, judging: Judging) -> Judged:
    """Judge the drafts of a window, and draw what may take their places (METHOD-2, METHOD-3).

    Args:
        state: The target.
        scored: The window.
        codes: The codebook, for rules that look at nearby codes.
        judging: How.
    """
    acceptance, cells = judging.acceptance, np.array(scored.window.cells)
    if acceptance == "coupled":
        kept = scored.drafted & (scored.fresh == scored.guesses)
        return Judged(kept.astype(np.float64), kept, scored.fresh)
    chances, redrawn = np.zeros(len(cells)), scored.fresh.copy()
    rows = np.flatnonzero(scored.drafted)
    stream, attempts = acceptance_stream(state.number), scored.attempts.tolist()
    uniform = uniform_noise(state.seed, stream, cells, attempt=attempts)[:, 0]
    if len(rows):
        probs = np.exp(scored.log_probs[rows].astype(np.float64))
        draft_probs = np.exp(scored.draft_log_probs[rows].astype(np.float64))
        rule, places = ACCEPTANCES[acceptance], scored.places[rows]
        accepted = rule(probs, draft_probs, scored.guesses[rows], places, state.settings, codes)
        chances[rows] = accepted.chances
        # The residual of all that are rejected, or of the first alone.
        wanted = np.flatnonzero(uniform[rows] >= chances[rows])
        wanted = wanted if judging.carry == "coupled" else wanted[:1]
        if len(wanted):
            weights = accepted.residuals[wanted]
            weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, probs[wanted])
            with np.errstate(divide="ignore"):  # log 0 is -inf: never drawn
                likely = np.log(weights)
            drawn = rows[wanted]
            redrawn[drawn] = (likely + noise_of(state, cells[drawn], scored.attempts[drawn] + 1)).argmax(axis=1)
    return Judged(chances, uniform < chances, redrawn)


def accept_certain(state: ModelState, cells: range, answer: Answer, drafts: Tokens, codes: Codes) -> NDArray[np.bool_]:
    """Return which tokens of a whole proposal stay, Bool[n]: each is a draft that is certain (METHOD-1).

    Args:
        state: The target.
        cells: Grid positions, n of them.
        answer: Their scores.
        drafts: Int[n].
        codes: The codebook.
    """
    fresh, log_probs = answer.draw(state.distribution, state.noise.rows(cells))
    certain = np.full_like(log_probs, -np.inf)
    np.put_along_axis(certain, drafts[:, None], 0, axis=1)
    scored = Scored(
        window=Window(list(cells), draws=True, drafted=len(cells)),
        guesses=drafts,
        drafted=np.ones(len(cells), dtype=np.bool_),
        log_probs=log_probs,
        fresh=fresh,
        draft_log_probs=certain,
        attempts=np.zeros(len(cells), dtype=np.int64),
        places=np.zeros(len(cells), dtype=np.int64),
    )
    return judge_window(state, scored, codes, state.settings.decoding.judging).kept


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


class Speculator:
    """Decides the cells of a correction (METHOD-2 to METHOD-5).

    Args:
        state: The target; mutated.
        correction: Mutated until nothing is left.
        source: Of drafts.
        codes: The codebook.
        judging: How drafts are judged.
    """

    def __init__(
        self,
        state: ModelState,
        correction: Prefix | Rounds | Rows,
        source: DraftSource,
        codes: Codes,
        judging: Judging,
    ) -> None:
        self.state, self.correction, self.source, self.codes, self.judging = state, correction, source, codes, judging
        self.same_noise = judging.carry == "same" or judging.acceptance == "coupled"
        self.swept = np.zeros(len(state.grid), dtype=np.int64)

    def run(self, progress: Callable[[int], None]) -> None:
        """Decide all cells, each step one pass; `progress` is told how many cells it decided."""
        while windows := self.correction.windows():
            drawn_from = self.source.propose(windows)
            scores = self._score([window.until_undrafted(drawn_from) for window in windows], drawn_from)
            judgements = [judge_window(self.state, scored, self.codes, self.judging) for scored in scores]
            counts = self.correction.settle([judged.kept for judged in judgements])
            self.source.carry(self._settle(scores, judgements, counts))
            progress(sum(counts))

    def _score(self, windows: Sequence[Window], drawn_from: DrawnFrom) -> list[Scored]:
        """Run the pass that scores windows; cells of `drawn_from` hold a draft."""
        state = self.state
        cells = sorted(cell for window in windows for cell in window.cells)
        fed = [cell for window in windows for cell in window.cells[:-1] if cell in drawn_from]
        places = np.array(cells)
        attempts = self.swept[places]
        self.swept[places] += 1
        noise = noise_of(state, cells, np.zeros_like(attempts) if self.same_noise else attempts)
        side_by_side = row_drafts(windows) if state.number == 0 else None
        fresh, log_probs = state.query(cells, fed, side_by_side).draw(state.distribution, noise)
        if self.judging.acceptance in GREEDY:
            fresh = log_probs.argmax(axis=1)
        scores = []
        for window in windows:
            rows = places.searchsorted(window.cells)
            guesses = state.grid[window.cells]
            log_q = np.full((len(rows), log_probs.shape[1]), -np.inf, dtype=np.float32)
            for place, cell in enumerate(window.cells):
                known = drawn_from.get(cell)
                if known is not None:
                    log_q[place] = known
                elif cell in drawn_from:
                    log_q[place, guesses[place]] = 0
            drafted = np.array([cell in drawn_from for cell in window.cells])
            scored = (log_probs[rows], fresh[rows], log_q, attempts[rows], np.arange(len(rows)))
            scores.append(Scored(window, guesses, drafted, *scored))
        return scores

    def _carried(self, scored: Scored, judged: Judged) -> tuple[Tokens, Floats]:
        """Return the next guess of each cell, were it not decided, and log q of it (METHOD-3)."""
        if self.judging.carry == "coupled":
            return np.where(judged.kept, scored.guesses, judged.redrawn), scored.log_probs
        if self.judging.carry != "kept":
            return scored.fresh, scored.log_probs
        own = np.maximum(scored.guesses, 0)[:, None]
        old = scored.draft_log_probs
        likely, before = (np.take_along_axis(rows, own, axis=1)[:, 0] for rows in (scored.log_probs, old))
        stays = scored.drafted & (likely > before + np.float32(np.log(KEPT_RATIO)))
        return np.where(stays, scored.guesses, scored.fresh), np.where(stays[:, None], old, scored.log_probs)

    def _settle(self, scores: Sequence[Scored], judgements: Sequence[Judged], counts: Sequence[int]) -> DrawnFrom:
        """Put what a pass decided and the next guesses into the grid; return what the guesses were drawn from."""
        state, next_from = self.state, dict[int, Floats | None]()
        for scored, judged, count in zip(scores, judgements, counts, strict=True):
            cells = scored.window.cells
            decided = np.arange(len(cells)) < count
            guesses, log_q = self._carried(scored, judged)
            tokens = np.where(decided, np.where(judged.kept, scored.guesses, judged.redrawn), guesses)
            source = state.origin(cells[-1])[0]
            state.settle(cells, tokens, decided, source)
            next_from |= dict(zip(cells[count:], log_q[count:], strict=True))
            source.speculated.append(
                Speculation(
                    cells=np.array(cells),
                    guesses=scored.guesses,
                    drafted=scored.drafted,
                    attempts=scored.attempts,
                    chances=judged.chances,
                    kept=judged.kept,
                    tokens=tokens,
                    decided=decided,
                    draft_log_probs=scored.draft_log_probs if state.record_logits else None,
                )
            )
        return next_from

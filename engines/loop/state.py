"""One model in the middle of a decode: its grid, its cache, and what the cache does not hold yet."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, Floats, Scores
from mulo_sd.engines.backends.finite import check_logits
from mulo_sd.engines.backends.host_scores import HostLogits
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.branches import Branches, RowDrafts
from mulo_sd.engines.rules.noise import NoiseSource, sample_stream
from mulo_sd.engines.rules.sweeps import first_guesses
from mulo_sd.engines.rules.trace import Pass, Trace
from mulo_sd.engines.rules.trees import DraftTree
from mulo_sd.engines.rules.widths import AutoWidth
from mulo_sd.engines.settings import Settings

Tokens = NDArray[np.int64]


def _watch_nothing(state: "ModelState") -> None:
    """Look at nothing."""


class ModelState:
    """The state of model number `number` (0 target, 1 drafts for it, ...) while one image is decoded.

    Attributes:
        distribution: What tokens are drawn from, and drafts judged by (DIST-1).
        grid: Int[N], the tokens as they stand; -1 where there is none yet.
        pending: Cells decided whose token no pass has fed; the next pass that sees them does (KV-3).
        unfed: Cells whose draft token or guess no pass has fed.
        guessed: Bool[N], cells that hold a guess, where there was no draft to take as one.
        decided: Bool[N], cells whose token stays.
        verdicts: UInt8[N], what the last verification made of a draft token, for whoever looks on (`verify`).
        watch: Called before every pass and after every verification; `Decoder` sets it.
        auto_width: Cells of a sweep where the settings leave them to the machine (SWEEP-6); `Pipeline` sets it.
        hidden: Float32[B, L, dim], of each position as it was last fed; where a head drafts, else nothing is kept.
    """

    def __init__(
        self,
        backend: Backend,
        entry: TransformerEntry,
        number: int,
        condition: Condition,
        null: NDArray[Any] | None,
        settings: Settings,
        seed: int,
        trace: Trace,
        record_logits: bool,
    ) -> None:
        """Feed the prefix (PREFILL): the conditional half first, and with guidance the null condition's."""
        self.backend, self.entry, self.number = backend, entry, number
        self.settings, self.trace, self.record_logits = settings, trace, record_logits
        self.condition = condition
        self.distribution = settings.distribution
        self.seed, self.height, self.width = seed, entry.grid_height, entry.grid_width
        cells = self.height * self.width
        self.grid = np.full(cells, -1, dtype=np.int64)
        self.pending: set[int] = set()
        self.unfed: set[int] = set()
        self.guessed = np.zeros(cells, dtype=np.bool_)
        self.decided = np.zeros(cells, dtype=np.bool_)
        self.verdicts = np.zeros(cells, dtype=np.uint8)
        self.watch: Callable[[ModelState], None] = _watch_nothing
        self.auto_width: int | AutoWidth = 1
        self.noise = NoiseSource(seed, sample_stream(number), cells, entry.vocabulary)
        places, prefixes = condition.places(), condition.prefixes(null, settings.guidance_scale)
        sees_zeros = number == 0 and settings.decoding.sees_zeros
        self.session = TransformerSession(backend, entry, prefixes, places, condition.passing(), sees_zeros)
        scores = self.session.prefill()
        length = entry.sequence_length if number == 0 and settings.decoding.has_head else 0
        self.hidden = np.zeros((len(prefixes), length, entry.dim), dtype=np.float32)
        self._keep_hidden(places, scores)
        self._record(places, np.full_like(places, -1), scores)
        # Of cell 0, which has no predecessor to feed (GRID-2).
        self.first_scores = scores.last()
        self._check(self.first_scores, "prefill")
        self.first_pass = len(trace.passes) - 1

    def _record(self, positions: Tokens, tokens: Tokens, scores: Scores, branches: Branches | None = None) -> None:
        logits = scores.logits()[:, : len(positions)] if self.record_logits else None
        self.trace.passes.append(Pass(self.number, positions, tokens, logits, branches=branches))

    def _keep_hidden(self, positions: Tokens, scores: Scores) -> Floats:
        """Keep hidden states of a pass's ordinary tokens, where they are wanted; return those of nodes behind them."""
        if not self.hidden.shape[1]:
            return self.hidden
        hidden = self.session.hidden_of(scores)
        self.hidden[:, positions] = hidden[:, : len(positions)]
        return hidden[:, len(positions) :]

    def _where(self, name: str) -> str:
        return f"graph {self.entry.graph}, {name}, on backend {self.backend.name}"

    def _check(self, scores: Scores, name: str) -> None:
        """Hold logits that lie in the host's memory against NaN; of others, what is made of them is (`Answer`)."""
        if isinstance(scores, HostLogits):
            check_logits(scores.all, self._where(name))

    def rows(self, first_row: int, last_row: int) -> Tokens:
        """Return a copy of rows first_row..last_row (exclusive) of the grid, Int[rows, W]."""
        return self.grid[first_row * self.width : last_row * self.width].reshape(-1, self.width).copy()

    def propose(self, cells: Sequence[int], tokens: Tokens) -> None:
        """Put draft tokens into the grid; they enter the cache when a pass needs them."""
        places = list(cells)
        self.grid[places] = tokens
        self.decided[places] = False
        self.verdicts[places] = 0
        self.unfed.update(cells)
        self.pending.difference_update(cells)

    def draft(self, cells: Sequence[int], tokens: Tokens) -> None:
        """Put draft tokens of what drafts beside the target into the grid: guesses, where there was no token."""
        self.propose(cells, tokens)
        self.guessed[list(cells)] = True

    def keep(self, cells: Sequence[int]) -> None:
        """Decide that draft tokens stay: those that no pass has fed yet are pending now (KV-3)."""
        self.decided[list(cells)] = True
        kept = self.unfed.intersection(cells)
        self.pending.update(kept)
        self.unfed.difference_update(kept)

    def decide(self, cells: Sequence[int], tokens: Tokens) -> None:
        """Put decided tokens into the grid; whatever the cache held for these cells is stale (KV-3)."""
        places = list(cells)
        self.grid[places] = tokens
        self.decided[places] = True
        self.pending.update(cells)
        self.unfed.difference_update(cells)

    def guess(self, cells: Sequence[int]) -> None:
        """Give cells that have no token yet their first guess (SWEEP-5)."""
        bare = [cell for cell in cells if self.grid[cell] < 0]
        if bare:
            kind = self.settings.first_guess
            self.propose(bare, first_guesses(kind, self.grid, self.width, bare, self._opening))
            self.guessed[bare] = True

    def _opening(self, cells: Sequence[int]) -> Tokens:
        """Draw cells from the distribution of cell 0, each by its own noise (SWEEP-5)."""
        where = self._where("prefill")
        rows = [
            Answer(np.zeros(1, dtype=np.int64), np.array([-1]), None, self.first_scores, where).draw(
                self.distribution, self.noise.rows([cell])
            )
            for cell in cells
        ]
        return np.concatenate([row.tokens for row in rows])

    def settle(self, cells: Sequence[int], tokens: Tokens, decided: NDArray[np.bool_], source: Pass) -> None:
        """Take the samples of cells: those that are decided, and new guesses for the others (SWEEP-2).

        Where the pass fed the very token that is decided, its keys and values are right, and no pass feeds it again.

        Args:
            cells: Grid positions, n of them.
            tokens: Int[n].
            decided: Bool[n].
            source: The pass that they come from.
        """
        places = np.asarray(cells)
        self.guessed[places[decided]] = False
        self.decided[places[decided]] = True
        self.guessed[places[~decided & (self.grid[places] < 0)]] = True
        changed = tokens != self.grid[places]
        positions = places + self.entry.prefix_length
        rows = source.positions.searchsorted(positions)  # a pass feeds ascending positions
        fed = source.positions.take(rows, mode="clip") == positions
        wrong = changed | ~fed
        if source.branches is not None and (decided & ~wrong).any():
            self.session.open(positions[decided & ~wrong])
        for act, chosen in ((self.decide, decided & wrong), (self.propose, ~decided & changed)):
            if chosen.any():
                act(places[chosen].tolist(), tokens[chosen])

    def is_open(self, cell: int) -> bool:
        """Whether the token before a cell does not exist yet, so that a stand-in is fed for it (SCHED-3)."""
        return cell > 0 and int(self.grid[cell - 1]) < 0

    def _stand_in(self, cell: int) -> int:
        """Return the rightmost token that a cell's row holds (SCHED-3)."""
        row = self.grid[cell // self.width * self.width : cell]
        held = np.flatnonzero(row >= 0)
        if not len(held):
            raise ValueError(f"row {cell // self.width}: expected a token to stand in for its last, got none")
        return int(row[held[-1]])

    def query(self, cells: Sequence[int], also_feed: Sequence[int] = (), row_drafts: RowDrafts | None = None) -> Answer:
        """Run one pass and return the scores of `cells`, ascending; of rows that are drafted side by side.

        The pass feeds every cell's predecessor or its stand-in, and as far as a query sees it what is pending and what
        `also_feed` names (KV-1, KV-3, SCHED-3). Cell 0 takes its scores from the prefill; where there is nothing to
        feed, no pass is made.
        """
        queried = np.array(cells, dtype=np.int64)
        wanted = {cell - 1 for cell in cells if cell > 0}
        wanted.update(cell for cell in (*self.pending, *also_feed) if cell < cells[-1])
        if not wanted:
            return Answer(queried, np.full(len(queried), -1), None, self.first_scores, self._where("prefill"))
        self.watch(self)
        fed = np.array(sorted(wanted), dtype=np.int64)
        tokens = self.grid[fed]
        if tokens.min() < 0:
            for missing in np.flatnonzero(tokens < 0):
                tokens[missing] = self._stand_in(int(fed[missing]))
        branches = None if row_drafts is None else row_drafts.branches(fed)
        scores, name = self.session.feed(fed, tokens, branches), f"pass {len(self.trace.passes)}"
        self._check(scores, name)
        self._keep_hidden(fed + self.entry.prefix_length, scores)
        self._record(fed + self.entry.prefix_length, tokens, scores, branches)
        self.pending.difference_update(wanted)
        self.unfed.difference_update(wanted)
        rows = fed.searchsorted(queried - 1)
        if cells[0] == 0:
            rows[0] = -1
        return Answer(queried, rows, scores, self.first_scores, self._where(name))

    def query_tree(self, cell: int, tree: DraftTree) -> tuple[Answer, Floats]:
        """Run one pass that feeds what is pending before a cell, and a tree of its drafts (METHOD-6).

        Returns:
            The scores of the cell and of the cell after each of n nodes, and the hidden states of the nodes,
            Float32[B, n, dim]. Cell 0 takes its scores from the prefill.
        """
        wanted = {place for place in self.pending if place < cell} | ({cell - 1} if cell else set())
        if not wanted:
            answer = Answer(np.array([cell]), np.array([-1]), None, self.first_scores, self._where("prefill"))
            return answer, self.hidden[:, :0]
        self.watch(self)
        fed = np.array(sorted(wanted), dtype=np.int64)
        positions, tokens, name = fed + self.entry.prefix_length, self.grid[fed], f"pass {len(self.trace.passes)}"
        scores = self.session.feed(fed, tokens, tree=tree.at(cell))
        self._check(scores, name)
        hidden = self._keep_hidden(positions, scores)
        self._record(positions, tokens, scores)
        self.pending.difference_update(wanted)
        rows = np.arange(len(fed) - 1, len(fed) + len(tree.tokens))
        return Answer(rows + 1, rows, scores, self.first_scores, self._where(name)), hidden

    def take_hidden(self, cells: Sequence[int], hidden: Floats) -> None:
        """Keep the hidden states of nodes that are decided, Float32[B, n, dim], until their cells are fed again."""
        self.hidden[:, np.array(cells, dtype=np.int64) + self.entry.prefix_length] = hidden

    def origin(self, cell: int, source_pass: int | None = None) -> tuple[Pass, int]:
        """Return the pass and its row that a cell's logits come from; None is the last pass."""
        index = len(self.trace.passes) - 1 if source_pass is None else source_pass
        source = self.trace.passes[index if cell > 0 else self.first_pass]
        return source, int(np.searchsorted(source.positions, self.entry.prefix_length + cell - 1))

    def sample(
        self,
        cells: Sequence[int],
        answer: Answer,
        source_pass: int | None = None,
        anchor: Anchor | None = None,
    ) -> Tokens:
        """Sample a token for every cell from its scores (RNG-1), and note it in the trace.

        Args:
            cells: Grid positions, n of them, ascending.
            answer: Theirs.
            source_pass: The pass that they come from; None is the last one.
            anchor: Of cells that are resampled (ANCHOR-1).

        Returns:
            Int[n].
        """
        tokens = answer.sample(self.distribution, self.noise, anchor)
        self._note(cells, tokens, answer, source_pass)
        return tokens

    def sample_openly(self, cells: Sequence[int], answer: Answer) -> tuple[Tokens, Floats]:
        """Sample as `sample` does, and return log p, Float32[n, V], beside (SCHED-5)."""
        tokens, log_probs = answer.draw(self.distribution, self.noise.rows(cells))
        self._note(cells, tokens, answer, None)
        return tokens, log_probs

    def _note(self, cells: Sequence[int], tokens: Tokens, answer: Answer, source_pass: int | None) -> None:
        """Note samples in the trace, beside the pass and the row that their scores come from."""
        sampled = self.trace.passes[-1 if source_pass is None else source_pass].sampled
        for cell, token, row in zip(cells, tokens.tolist(), answer.rows.tolist(), strict=True):
            if row < 0:  # cell 0
                origin, row = self.origin(cell)
                origin.sampled.append((row, cell, token))
            else:
                sampled.append((row, cell, token))

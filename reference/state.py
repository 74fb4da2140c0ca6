"""One model in the middle of a decode: its grid, its cache, and what the cache does not hold yet."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.branches import Branches, RowDrafts
from mulo_sd.reference.cache import KVCache, feed_branched
from mulo_sd.reference.models import Condition
from mulo_sd.reference.noise import Attempt, gumbel_noise, sample_stream
from mulo_sd.reference.sampling import sample, target_log_probs
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.sweeps import first_guesses
from mulo_sd.reference.trace import Pass, Trace
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.trees import DraftTree


class ModelState:
    """The state of model number `number` (0 target, 1 drafts for it, ...) while one image is decoded.

    Attributes:
        grid: Int[N], the tokens as they stand; -1 where there is none yet.
        pending: Grid positions decided whose token no pass has fed; the next pass that sees them does (KV-3).
        unfed: Grid positions whose draft token or guess no pass has fed.
        hidden: Float[B, L, dim], of each position as it was last fed; where a head drafts, else nothing is kept.
    """

    def __init__(
        self,
        model: Transformer,
        number: int,
        condition: Condition,
        settings: Settings,
        seed: int,
        trace: Trace,
        record_logits: bool,
    ) -> None:
        """Feed the prefix (PREFILL): the conditional half first, and with guidance the null condition's."""
        self.model, self.number, self.settings, self.seed = model, number, settings, seed
        self.condition = condition
        self.trace, self.record_logits = trace, record_logits
        config = model.config
        self.height, self.width = config.grid_height, config.grid_width
        self.grid = torch.full((self.height * self.width,), -1, dtype=torch.long)
        self.pending: set[int] = set()
        self.unfed: set[int] = set()
        prefixes, places = condition.prefixes(model, settings.guidance_scale), condition.places()
        self.cache = KVCache(config, len(prefixes), model.output.weight.dtype)
        keeps_hidden = number == 0 and settings.decoding.has_head
        shape = (len(prefixes), config.sequence_length if keeps_hidden else 0, config.dim)
        self.hidden = torch.zeros(shape, dtype=model.output.weight.dtype)
        logits = self._feed(model.prefix_embeddings(prefixes)[:, places], places)
        self.cache.forget(condition.passing())
        self._record(places, torch.full_like(places, -1), logits)
        if number == 0 and settings.decoding.sees_zeros:
            self.cache.written[config.prefix_length :] = True
        # Row 0 of what `query` returns for cell 0: it has no predecessor to feed (GRID-2).
        self.first_logits = logits[:, -1:]
        self.first_pass = len(trace.passes) - 1

    def _feed(self, embeddings: Tensor, positions: Tensor, branches: Branches | None = None) -> Tensor:
        """Run a pass and return its logits."""
        fed = feed_branched(self.model, self.cache, embeddings, positions, branches)
        if self.hidden.shape[1]:
            self.hidden[:, positions] = fed.hidden
        return fed.logits

    def _record(self, positions: Tensor, tokens: Tensor, logits: Tensor, branches: Branches | None = None) -> None:
        kept = logits.clone() if self.record_logits else None
        self.trace.passes.append(Pass(self.number, positions, tokens, kept, branches=branches))

    def rows(self, first_row: int, last_row: int) -> Tensor:
        """Return a copy of rows first_row..last_row (exclusive) of the grid, Int[rows, W]."""
        return self.grid[first_row * self.width : last_row * self.width].reshape(-1, self.width).clone()

    def propose(self, cells: Sequence[int], tokens: Tensor) -> None:
        """Put draft tokens into the grid; they enter the cache when a pass needs them."""
        self.grid[list(cells)] = tokens
        self.unfed.update(cells)
        self.pending.difference_update(cells)

    def keep(self, cells: Iterable[int]) -> None:
        """Decide that draft tokens stay: those that no pass has fed yet are pending now (KV-3)."""
        kept = self.unfed.intersection(cells)
        self.pending.update(kept)
        self.unfed.difference_update(kept)

    def decide(self, cells: Sequence[int], tokens: Tensor) -> None:
        """Put decided tokens into the grid; whatever the cache held for these cells is stale (KV-3)."""
        self.grid[list(cells)] = tokens
        self.pending.update(cells)
        self.unfed.difference_update(cells)

    def guess(self, cells: Sequence[int]) -> None:
        """Give cells that have no token yet their first guess (SWEEP-5)."""
        bare = [cell for cell in cells if int(self.grid[cell]) < 0]
        if bare:
            kind = self.settings.first_guess
            self.propose(bare, first_guesses(kind, self.grid, self.width, bare, self._opening))

    def _opening(self, cells: Sequence[int]) -> Tensor:
        """Draw cells from the distribution of cell 0, each by its own noise (SWEEP-5)."""
        return self.draw(cells, self.log_probs(self.first_logits).expand(len(cells), -1))

    def settle(self, cells: Sequence[int], tokens: Tensor, decided: Tensor, source: Pass) -> None:
        """Take the samples of cells: those that are decided, and new guesses for the others (SWEEP-2).

        Where the pass fed the very token that is decided, its keys and values are right, and no pass feeds it again.

        Args:
            cells: Grid positions, n of them.
            tokens: Int[n].
            decided: Bool[n].
            source: The pass that they come from.
        """
        changed = tokens != self.grid[list(cells)]
        positions = torch.tensor(cells) + self.model.config.prefix_length
        fed = torch.isin(positions, source.positions)
        self.cache.open(positions[decided & fed & ~changed])
        for act, chosen in ((self.decide, decided & ~(fed & ~changed)), (self.propose, ~decided & changed)):
            rows = chosen.nonzero().flatten().tolist()
            act([cells[row] for row in rows], tokens[rows])

    def is_open(self, cell: int) -> bool:
        """Whether the token before a cell does not exist yet, so that a stand-in is fed for it (SCHED-3)."""
        return cell > 0 and int(self.grid[cell - 1]) < 0

    def _fed_token(self, cell: int) -> int:
        """Return the token of a cell, or its stand-in: the rightmost token that its row holds (SCHED-3)."""
        row_start = cell // self.width * self.width
        while int(self.grid[cell]) < 0:
            cell -= 1
            if cell < row_start:
                raise ValueError(f"row {row_start // self.width}: expected a token to stand in for its last, got none")
        return int(self.grid[cell])

    def query(self, cells: Sequence[int], also_feed: Sequence[int] = (), row_drafts: RowDrafts | None = None) -> Tensor:
        """Run one pass and return the logits of `cells`, Float[B, n, V]; of rows that are drafted side by side.

        The pass feeds every cell's predecessor or its stand-in, and as far as a query sees it what is pending and what
        `also_feed` names (KV-1, KV-3, SCHED-3). Cell 0 takes its logits from the prefill; where there is nothing to
        feed, no pass is made.
        """
        seen = {cell for cell in self.pending.union(also_feed) if cell < cells[-1]}
        fed = sorted(seen.union(cell - 1 for cell in cells if cell > 0))
        if not fed:
            return self.first_logits
        tokens = torch.tensor([self._fed_token(cell) for cell in fed])
        positions = torch.tensor(fed) + self.model.config.prefix_length
        embeddings = self.model.token_embeddings(tokens)[None].expand(len(self.first_logits), -1, -1)
        branches = None if row_drafts is None else row_drafts.branches(fed)
        logits = self._feed(embeddings, positions, branches)
        self._record(positions, tokens, logits, branches)
        self.pending.difference_update(fed)
        self.unfed.difference_update(fed)
        row_of = {cell: row for row, cell in enumerate(fed)}
        rows = [logits[:, row_of[cell - 1], None] if cell > 0 else self.first_logits for cell in cells]
        return torch.cat(rows, dim=1)

    def query_tree(self, cell: int, tree: DraftTree) -> tuple[Tensor, Tensor]:
        """Run one pass that feeds what is pending before a cell, and a tree of its drafts (METHOD-6).

        Returns:
            The logits of the cell and of the cell after each of n nodes, Float[B, 1 + n, V], and the hidden states of
            the nodes, Float[B, n, dim]. Cell 0 takes its logits from the prefill.
        """
        fed = sorted({place for place in self.pending if place < cell} | ({cell - 1} if cell else set()))
        if not fed:
            return self.first_logits, self.hidden[:, :0]
        positions = torch.tensor(fed) + self.model.config.prefix_length
        tokens, prefix_length = self.grid[fed], self.model.config.prefix_length
        all_tokens, places = (
            torch.cat([tokens, tree.tokens]),
            torch.cat([positions, prefix_length + cell + tree.depths]),
        )
        embeddings = self.model.token_embeddings(all_tokens)[None].expand(len(self.first_logits), -1, -1)
        logits, hidden = feed_branched(self.model, self.cache, embeddings, places, parents=tree.parents)
        self.hidden[:, positions] = hidden[:, : len(fed)]
        self._record(positions, tokens, logits[:, : len(fed)])
        self.pending.difference_update(fed)
        return logits[:, len(fed) - 1 :], hidden[:, len(fed) :]

    def take_hidden(self, cells: Sequence[int], hidden: Tensor) -> None:
        """Keep the hidden states of nodes that are decided, Float[B, n, dim], until their cells are fed again."""
        self.hidden[:, torch.tensor(cells, dtype=torch.long) + self.model.config.prefix_length] = hidden

    def log_probs(self, logits: Tensor, raw: bool = False) -> Tensor:
        """Return log p, Float[n, V], from Float[B, n, V]; `raw` leaves out temperature and filters (DIST-2)."""
        uncond = logits[1] if len(logits) == 2 else None
        settings = self.settings
        if raw:
            return target_log_probs(logits[0], uncond, settings.guidance_scale)
        return target_log_probs(
            logits[0], uncond, settings.guidance_scale, settings.temperature, settings.top_k, settings.top_p
        )

    def draw(
        self, cells: Sequence[int], log_probs: Tensor, attempt: Attempt = 0, anchor: Anchor | None = None
    ) -> Tensor:
        """Sample a token for every cell from its row of Float[n, V] with its own noise (RNG-1, ANCHOR-1), Int[n]."""
        noise = gumbel_noise(self.seed, sample_stream(self.number), cells, log_probs.shape[-1], attempt)
        return sample(log_probs, noise if anchor is None else noise + anchor.bonus(cells))

    def origin(self, cell: int, source_pass: int | None = None) -> tuple[Pass, int]:
        """Return the pass and its row that a cell's logits come from; None is the last pass."""
        index = len(self.trace.passes) - 1 if source_pass is None else source_pass
        source = self.trace.passes[index if cell > 0 else self.first_pass]
        return source, int((source.positions == self.model.config.prefix_length + cell - 1).nonzero())

    def sample(
        self, cells: Sequence[int], log_probs: Tensor, source_pass: int | None = None, anchor: Anchor | None = None
    ) -> Tensor:
        """Sample a token for every cell from its row of Float[n, V] (RNG-1) and note it in the trace.

        Args:
            cells: Grid positions, n of them.
            log_probs: Float[n, V].
            source_pass: The pass whose logits these are; None is the last one.
            anchor: Of cells that are resampled (ANCHOR-1).
        """
        tokens = self.draw(cells, log_probs, anchor=anchor)
        for cell, token in zip(cells, tokens.tolist(), strict=True):
            origin, row = self.origin(cell, source_pass)
            origin.sampled.append((row, cell, token))
        return tokens

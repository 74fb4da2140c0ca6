"""One model in the middle of a decode: its grid, its cache, and what the cache does not hold yet."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.anchor import Anchor
from engines.backends.base import Backend
from engines.bundle.manifest import TransformerEntry
from engines.condition import Condition
from engines.noise import NoiseSource, sample_stream
from engines.settings import Settings
from engines.trace import Pass, Trace
from engines.transformer import TransformerSession

Tokens = NDArray[np.int64]


def distribution_inputs(logits: NDArray[np.float32], settings: Settings, raw: bool = False) -> dict[str, NDArray[Any]]:
    """Return what sampler and acceptance graphs need to make p_u of logits Float32[B, T, V] (DIST-1, DIST-2)."""
    return {
        "cond_logits": logits[0],
        "uncond_logits": logits[-1],
        "guidance_scale": np.array(settings.guidance_scale, dtype=np.float32),
        "temperature": np.array(1.0 if raw else settings.temperature, dtype=np.float32),
        "top_k": np.array(0 if raw else settings.top_k, dtype=np.int64),
        "top_p": np.array(1.0 if raw else settings.top_p, dtype=np.float32),
    }


class ModelState:
    """The state of model number `number` (0 target, 1 drafts for it, ...) while one image is decoded.

    Attributes:
        grid: Int[N], the tokens as they stand; -1 where there is none yet.
        pending: Cells decided since the last pass; the next pass feeds them (KV-3).
        unfed: Cells whose draft token no pass has fed.
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
        self.seed, self.height, self.width = seed, entry.grid_height, entry.grid_width
        cells = self.height * self.width
        self.grid = np.full(cells, -1, dtype=np.int64)
        self.pending: set[int] = set()
        self.unfed: set[int] = set()
        self.noise = NoiseSource(seed, sample_stream(number), cells, entry.vocabulary)
        places = condition.places()
        self.session = TransformerSession(backend, entry, condition.prefixes(null, settings.guidance_scale), places)
        logits = self.session.prefill()
        self._record(places, np.full_like(places, -1), logits)
        # What `query` returns for cell 0: it has no predecessor to feed (GRID-2).
        self.first_logits = logits[:, -1:]
        self.first_pass = len(trace.passes) - 1

    def _record(self, positions: Tokens, tokens: Tokens, logits: NDArray[np.float32]) -> None:
        self.trace.passes.append(Pass(self.number, positions, tokens, logits if self.record_logits else None))

    def rows(self, first_row: int, last_row: int) -> Tokens:
        """Return a copy of rows first_row..last_row (exclusive) of the grid, Int[rows, W]."""
        return self.grid[first_row * self.width : last_row * self.width].reshape(-1, self.width).copy()

    def propose(self, cells: Sequence[int], tokens: Tokens) -> None:
        """Put draft tokens into the grid; they enter the cache when a pass needs them."""
        self.grid[list(cells)] = tokens
        self.unfed.update(cells)
        self.pending.difference_update(cells)

    def keep(self, cells: Iterable[int]) -> None:
        """Decide that draft tokens stay: those that no pass has fed yet are pending now (KV-3)."""
        kept = self.unfed.intersection(cells)
        self.pending.update(kept)
        self.unfed.difference_update(kept)

    def decide(self, cells: Sequence[int], tokens: Tokens) -> None:
        """Put decided tokens into the grid; whatever the cache held for these cells is stale (KV-3)."""
        self.grid[list(cells)] = tokens
        self.pending.update(cells)
        self.unfed.difference_update(cells)

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

    def query(self, cells: Sequence[int], also_feed: Sequence[int] = ()) -> NDArray[np.float32]:
        """Run one pass and return the logits of `cells`, Float32[B, n, V].

        The pass feeds every cell's predecessor or its stand-in, everything pending, and `also_feed` (KV-1, KV-3,
        SCHED-3). Cell 0 takes its logits from the prefill; where there is nothing to feed, no pass is made.
        """
        wanted = {cell - 1 for cell in cells if cell > 0} | self.pending
        wanted.update(also_feed)
        if not wanted:
            return self.first_logits
        fed = np.array(sorted(wanted), dtype=np.int64)
        tokens = self.grid[fed]
        for missing in np.flatnonzero(tokens < 0):
            tokens[missing] = self._stand_in(int(fed[missing]))
        logits = self.session.feed(fed, tokens)
        self._record(fed + self.entry.prefix_length, tokens, logits)
        self.pending.clear()
        self.unfed.difference_update(wanted)
        after = [cell for cell in cells if cell > 0]
        rows = logits[:, np.searchsorted(fed, np.array(after, dtype=np.int64) - 1)]
        if len(after) == len(cells):
            return rows
        return np.concatenate([self.first_logits, rows], axis=1)  # cell 0 comes first in raster order

    def draw(self, logits: NDArray[np.float32], noise: NDArray[np.float32]) -> tuple[Tokens, NDArray[np.float32]]:
        """Sample one token a row of Float32[B, n, V] by its noise, Float32[n, V]; return log p beside (RNG-1)."""
        outputs = self.backend.run("sampler", distribution_inputs(logits, self.settings) | {"noise": noise})
        return outputs["tokens"], outputs["log_probs"]

    def origin(self, cell: int, source_pass: int | None = None) -> tuple[Pass, int]:
        """Return the pass and its row that a cell's logits come from; None is the last pass."""
        index = len(self.trace.passes) - 1 if source_pass is None else source_pass
        source = self.trace.passes[index if cell > 0 else self.first_pass]
        return source, int(np.searchsorted(source.positions, self.entry.prefix_length + cell - 1))

    def sample(
        self,
        cells: Sequence[int],
        logits: NDArray[np.float32],
        source_pass: int | None = None,
        anchor: Anchor | None = None,
    ) -> tuple[Tokens, NDArray[np.float32]]:
        """Sample a token for every cell from its logits (RNG-1), and note it in the trace.

        Args:
            cells: Grid positions, n of them, ascending.
            logits: Float32[B, n, V].
            source_pass: The pass that they come from; None is the last one.
            anchor: Of cells that are resampled (ANCHOR-1).

        Returns:
            Int[n], and log p, Float32[n, V].
        """
        noise = self.noise.rows(list(cells))
        tokens, log_probs = self.draw(logits, noise if anchor is None else noise + anchor.bonus(cells))
        for cell, token in zip(cells, tokens.tolist(), strict=True):
            origin, row = self.origin(cell, source_pass)
            origin.sampled.append((row, cell, token))
        return tokens, log_probs

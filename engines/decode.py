"""The speculative loop over a backend: MODE-AR and MODE-SERIAL; the engines' twin of `reference.decode`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend
from engines.bundle import Bundle
from engines.grid import expand
from engines.settings import Settings
from engines.state import ModelState, Tokens, distribution_inputs
from engines.trace import Cycle, Trace

# (cells of the image decided, cells of the image)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Decoded:
    """A decoded image: tokens Int[H, W] and the trace of every pass and decision."""

    tokens: Tokens
    trace: Trace


def accept(pooled: NDArray[np.float32], tau: float) -> NDArray[np.bool_]:
    """Return which draft tokens are kept: pooled >= tau; none where tau > 1 (ACCEPT-1)."""
    if tau > 1:  # a pooled probability may exceed 1 by rounding
        return np.zeros(pooled.shape, dtype=np.bool_)
    return np.asarray(pooled >= np.float32(tau))


class Decoder:
    """Decodes one image."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        prefix_ids: Tokens,
        settings: Settings,
        seed: int,
        progress: Progress = lambda done, total: None,
        record_logits: bool = False,
    ) -> None:
        """Prepare a decode.

        Args:
            bundle: Opened and checked.
            backend: Runs its graphs.
            prefix_ids: Int[2, P, fields], the condition and the null condition.
            settings: How to decode.
            seed: 0..2^64 - 1.
            progress: Told after every step of the target.
            record_logits: Keep the logits of every pass in the trace.
        """
        self.bundle, self.backend, self.settings, self.seed = bundle, backend, settings, seed
        self.progress, self.record_logits = progress, record_logits
        self.prefix_ids = prefix_ids if settings.guidance_scale != 1 else prefix_ids[:1]
        self.trace = Trace()
        self.neighbours = np.ascontiguousarray(bundle.neighbours[:, : settings.neighbours])
        entry = bundle.manifest.target
        self.shape = (entry.grid_height, entry.grid_width)
        self.target = self._state(0)

    def _state(self, number: int) -> ModelState:
        manifest = self.bundle.manifest
        entry = manifest.drafter if number else manifest.target
        return ModelState(
            self.backend, entry, number, self.prefix_ids, self.settings, self.seed, self.trace, self.record_logits
        )

    def decode_ar(self) -> Decoded:
        """MODE-AR: one token a pass."""
        total = len(self.target.grid)
        for cell in range(total):
            self.target.decide([cell], self.target.sample([cell], self.target.query([cell])))
            self.progress(cell + 1, total)
        return Decoded(self.target.grid.reshape(self.shape), self.trace)

    def decode_serial(self, draft: Tokens | None = None) -> Decoded:
        """MODE-SERIAL: draft, up-sample, verify, resample, down-sample, window by window.

        Args:
            draft: Int[h, w], low-resolution tokens to take instead of the drafter's (an oracle draft, say).
        """
        drafter = self._state(1)
        low = drafter.entry
        if draft is not None and draft.shape != (low.grid_height, low.grid_width):
            raise ValueError(f"draft: expected {low.grid_height} x {low.grid_width} tokens, got {draft.shape}")
        refresh_from = 0
        for low_row in range(0, low.grid_height, self.settings.draft_rows):
            cycle = self._cycle(drafter, low_row, draft, refresh_from)
            self.trace.cycles.append(cycle)
            refresh_from = cycle.first_row
        return Decoded(self.target.grid.reshape(self.shape), self.trace)

    def _draft(self, drafter: ModelState, first_row: int, last_row: int, given: Tokens | None) -> Tokens:
        """Draft low-resolution rows (DRAFT-1), or take them from `given`; return Int[last_row, w], all rows known."""
        width = drafter.entry.grid_width
        cells = range(first_row * width, last_row * width)
        if given is not None:
            drafter.propose(cells, given.ravel()[cells.start : cells.stop])
        else:
            for cell in cells:
                drafter.decide([cell], drafter.sample([cell], drafter.query([cell])))
        # A copy: the down-sampled rows take the place of the drafted ones in the grid.
        return drafter.grid[: last_row * width].reshape(last_row, width).copy()

    def _verify(
        self, window: range, proposal: Tokens, also_feed: range
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score a proposal in one pass (VERIFY-1); return pooled probabilities, Float32[n], and Float32[B, n, V]."""
        self.target.propose(window, proposal.ravel())
        logits = self.target.query(window, also_feed)
        inputs = distribution_inputs(logits, self.settings, raw=self.settings.accept_on == "raw")
        inputs |= {"draft_tokens": proposal.ravel(), "neighbours": self.neighbours}
        return self.backend.run("acceptance", inputs)["pooled_probs"], logits

    def _resample(self, cells: Tokens, window: range, logits: NDArray[np.float32], verify_pass: int) -> None:
        """Resample cells in raster order; the first from the verification's own distribution (SCHED-4)."""
        total = len(self.target.grid)
        for index, cell in enumerate(cells.tolist()):
            if index == 0:
                offset = cell - window.start
                tokens = self.target.sample([cell], logits[:, offset : offset + 1], verify_pass)
            else:
                tokens = self.target.sample([cell], self.target.query([cell]))
            self.target.decide([cell], tokens)
            self.progress(cell + 1, total)

    def _cycle(self, drafter: ModelState, low_row: int, given: Tokens | None, refresh_from: int) -> Cycle:
        settings, ratio = self.settings, self.bundle.manifest.scale_ratio
        (height, width), low = self.shape, drafter.entry
        low_last = min(low_row + settings.draft_rows, low.grid_height)
        first_row, last_row = low_row * ratio, low_last * ratio
        window = range(first_row * width, last_row * width)

        known = self._draft(drafter, low_row, min(low_last + settings.look_ahead, low.grid_height), given)
        # What was drafted ahead is context only: it leaves the drafter's pending set when it is drafted again.
        drafter.pending.difference_update(range(low_last * low.grid_width, len(drafter.grid)))
        up_sampled = self.backend.run("up_sampler", {"low_tokens": known})["high_tokens"]
        proposal: Tokens = up_sampled[first_row:last_row]

        also_feed = range(refresh_from * width, first_row * width) if settings.refresh else range(0)
        pooled, logits = self._verify(window, proposal, also_feed)
        verify_pass = len(self.trace.passes) - 1
        kept = accept(pooled, settings.tau).reshape(-1, width)
        rejected = np.zeros(self.shape, dtype=np.bool_)
        rejected[first_row:last_row] = ~kept
        resampled = expand(rejected, settings.radius, first_row, last_row)
        self.target.keep([cell for cell in window if not resampled.flat[cell]])
        self._resample(np.flatnonzero(resampled), window, logits, verify_pass)

        tokens = self.target.grid.reshape(self.shape)
        down_sampled = None
        if last_row < height:
            low_tokens = self.backend.run("down_sampler", {"high_tokens": tokens[:last_row]})["low_tokens"]
            down_sampled = low_tokens[low_row:low_last]
            drafter.decide(range(low_row * low.grid_width, low_last * low.grid_width), down_sampled.ravel())
        self.progress(window.stop, len(self.target.grid))
        return Cycle(
            first_row=first_row,
            last_row=last_row,
            draft_first_row=low_row,
            draft_tokens=known[low_row:],
            up_sampled=proposal,
            pooled_probs=pooled.reshape(-1, width),
            kept=kept,
            resampled=resampled[first_row:last_row],
            tokens=tokens[first_row:last_row].copy(),
            down_sampled=down_sampled,
            verify_pass=verify_pass,
        )

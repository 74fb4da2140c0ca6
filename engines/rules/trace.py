"""The trace of a decode: every pass and every decision, in order; the engines' twin of `reference.trace`."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle import contract
from mulo_sd.engines.rules import noise
from mulo_sd.engines.rules.branches import Branches

Tokens = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Reprediction:
    """A second or later prediction of a row's first token (SCHED-5); fields as in `reference.trace`."""

    row: int
    cell: int
    attempt: int
    held_token: int
    kept: bool
    token: int


@dataclass(frozen=True)
class Sweep:
    """What a sweep made of the scores of its pass (SWEEP-1, SWEEP-2); fields as in `reference.trace`."""

    cells: Tokens
    guesses: Tokens
    samples: Tokens
    decided: Mask


@dataclass(frozen=True)
class Speculation:
    """What a pass made of the drafts of one window (METHOD-2); fields as in `reference.trace`."""

    cells: Tokens
    guesses: Tokens
    drafted: Mask
    attempts: Tokens
    chances: NDArray[np.float64]
    kept: Mask
    tokens: Tokens
    decided: Mask
    draft_log_probs: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class TreeSpeculation:
    """What a pass made of a tree of drafts (METHOD-6); fields as in `reference.trace`."""

    cell: int
    tokens: Tokens
    parents: Tokens
    depths: Tokens
    judged: Tokens
    chances: NDArray[np.float64]
    kept: Mask
    decided: Tokens
    draft_log_probs: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None


@dataclass
class Pass:
    """One pass of one model: the (position, token) pairs fed (KV-1) and what was sampled from its logits.

    Attributes:
        model: 0 is the target, 1 drafts for it, 2 for 1 (RNG-2).
        positions: Int[T], sequence positions, ascending (prefix first, GRID-2).
        tokens: Int[T]; -1 stands for a prefix token.
        logits: Float32[B, T, V], conditional first, where the decode recorded them.
        sampled: (row of the pass, grid position, token) of every token sampled from this pass.
        repredicted: SCHED-5.
        sweeps: The sweeps that sampled from this pass.
        speculated: What it made of drafts (METHOD-2), a window each.
        trees: What it made of a tree of drafts (METHOD-6), one at most; its nodes are not among the tokens.
        branches: Of its tokens, where rows are drafted side by side (METHOD-5).
    """

    model: int
    positions: Tokens
    tokens: Tokens
    logits: NDArray[np.float32] | None = None
    sampled: list[tuple[int, int, int]] = field(default_factory=list)
    repredicted: list[Reprediction] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    speculated: list[Speculation] = field(default_factory=list)
    trees: list[TreeSpeculation] = field(default_factory=list)
    branches: Branches | None = None


@dataclass(frozen=True)
class Proposal:
    """Rows first_row..last_row (exclusive) of a model's grid, drafted by another; fields as in `reference.trace`."""

    model: int
    draft_model: int
    first_row: int
    last_row: int
    draft_first_row: int
    draft_tokens: Tokens
    up_sampled: Tokens


@dataclass(frozen=True)
class Verdict:
    """The result of a verification; fields as in `reference.trace`."""

    verify_pass: int
    pooled_probs: NDArray[np.float32]
    kept: Mask
    radii: Tokens
    resampled: Mask


@dataclass(frozen=True)
class Cycle(Verdict, Proposal):
    """One cycle: a proposal, its verdict, and what was decided; fields as in `reference.trace`."""

    tokens: Tokens
    down_sampled: Tokens | None


def maker_of_passes(number: int) -> str:
    """Return what makes passes under a number: a model, or what drafts on the target's own grid, by its name."""
    return {noise.HEAD: contract.HEAD, noise.BLOCK: contract.BLOCK}.get(number, contract.model_name(number))


# Of methods: as large as logits, and left out where those are.
_DISTRIBUTIONS = ("draft_log_probs", "logits")


def _event(event: object) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(event).items() if name not in _DISTRIBUTIONS}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(np.int64).tolist() if value.dtype == np.bool_ else value.tolist()
    return value


@dataclass
class Trace:
    """All passes and all cycles of one decode; a drafter's own cycle stands before the one that uses its draft."""

    passes: list[Pass] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)

    def nfe(self, model: int) -> int:
        """Return the number of passes of a model, its prefill included."""
        return sum(item.model == model for item in self.passes)

    @property
    def passes_by_model(self) -> dict[str, int]:
        """The number of passes of every model that made some, prefills included, by its name."""
        counts = Counter(item.model for item in self.passes)
        return {maker_of_passes(number): counts[number] for number in sorted(counts)}

    def sweeps_of(self, model: int) -> list[Sweep]:
        """Return the sweeps of a model."""
        return [sweep for item in self.passes if item.model == model for sweep in item.sweeps]

    def cycles_of(self, model: int) -> list[Cycle]:
        """Return the cycles in which a model verified."""
        return [cycle for cycle in self.cycles if cycle.model == model]

    @property
    def acceptance_rate(self) -> float:
        """Share of the target's draft tokens that were kept, before expansion; 1 where nothing was drafted."""
        drafted = sum(cycle.kept.size for cycle in self.cycles_of(0))
        kept = sum(int(cycle.kept.sum()) for cycle in self.cycles_of(0))
        if not drafted:  # by a coarser grid: then drafts of methods count, as often as they are judged
            windows = [window for item in self.passes for window in item.speculated if item.model == 0]
            trees = [tree for item in self.passes for tree in item.trees if item.model == 0]
            drafted = sum(int(window.drafted.sum()) for window in windows) + sum(len(tree.tokens) for tree in trees)
            kept = sum(int((window.kept & window.decided).sum()) for window in windows)
            kept += sum(int(tree.kept.sum()) for tree in trees)
        return kept / drafted if drafted else 1.0

    @property
    def resampled_rate(self) -> float:
        """Share of the target's draft tokens resampled, rejected or not (R_X); 0 where nothing was drafted."""
        drafted = sum(cycle.kept.size for cycle in self.cycles_of(0))
        return sum(int(cycle.resampled.sum()) for cycle in self.cycles_of(0)) / drafted if drafted else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; logits are left out."""
        passes = [
            {
                "model": item.model,
                "positions": _plain(item.positions),
                "tokens": _plain(item.tokens),
                "sampled": [list(entry) for entry in item.sampled],
                "repredicted": [vars(entry) for entry in item.repredicted],
                **{
                    kind: [_event(event) for event in getattr(item, kind)] for kind in ("sweeps", "speculated", "trees")
                },
            }
            for item in self.passes
        ]
        cycles = [{name: _plain(value) for name, value in vars(cycle).items()} for cycle in self.cycles]
        return {"passes": passes, "cycles": cycles}

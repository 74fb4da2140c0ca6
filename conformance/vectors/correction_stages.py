"""Stages of correction: which cells each pass scores and decides, and what stands where nothing is decided yet."""

from collections.abc import Iterator

import numpy as np
import torch

from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.conformance.vectors.function_stages import PROBABILITY, Array, number
from mulo_sd.reference.corrections import Prefix, Rounds, Rows, Window
from mulo_sd.reference.parts import Carry
from mulo_sd.reference.speculate import Judged, Scored, carried

CARRIES: tuple[Carry, ...] = ("fresh", "same", "coupled", "kept")  # by the number that stands for each


def course(correction: Prefix | Rounds | Rows, kept: Array, drafts: int) -> dict[str, Array]:
    """Decide all cells of a correction.

    Args:
        correction: Mutated until nothing is left.
        kept: Bool[passes, H, W], whether a pass keeps the draft that it scores at a cell, if there is one.
        drafts: How many cells of a window hold one at most, from the left.

    Returns:
        `scored` Bool[passes, H, W], cells in the windows of each pass; `decided_in` Int[H, W], which pass decided each,
        -1 for none.
    """
    scored: list[Array] = []
    decided_in = np.full(kept[0].size, -1)
    while windows := correction.windows():
        made = len(scored)
        drafted = {cell for window in windows for cell in window.cells[: min(window.drafted, drafts)]}
        windows = [window.until_undrafted(drafted) for window in windows]
        stays = [torch.tensor([cell in drafted and bool(kept[made].flat[cell]) for cell in w.cells]) for w in windows]
        seen = np.zeros(kept[0].size, dtype=np.bool_)
        for window, count in zip(windows, correction.settle(stays), strict=True):
            seen[window.cells] = True
            decided_in[window.cells[:count]] = made
        scored.append(seen.reshape(kept[0].shape))
    return {"scored": np.stack(scored), "decided_in": decided_in.reshape(kept[0].shape)}


def _kept(generator: np.random.Generator, shape: tuple[int, int], share: float) -> Array:
    """As many passes as there are cells: more are never needed."""
    return generator.random((shape[0] * shape[1], *shape)) < share


def _prefixes(generator: np.random.Generator) -> Iterator[Vector]:
    """Whole grids and parts of them, in windows of drafts, of drafts and one cell more, and without drafts."""
    lengths = ((6, 6), (5, 4), (1, 1), (4, 0), (26, 25), (64, 64))
    for index, (length, drafts) in enumerate((*lengths, *lengths)):
        shape, share = ((4, 6), (3, 9))[index % 2], (0.7, 0.0, 1.0, 0.9)[index % 4]
        cells = generator.random(shape) < (1.0 if index < len(lengths) else 0.6)
        kept = _kept(generator, shape, share)
        answers = course(Prefix(np.flatnonzero(cells).tolist(), length), kept, drafts)
        inputs = {"cells": cells, "length": number(length), "drafts": number(drafts), "kept": kept}
        yield Vector(inputs, answers, f"windows of {length} with {drafts} drafts, {share:.0%} stay")


def _rounds(generator: np.random.Generator) -> Iterator[Vector]:
    """Rounds on whole grids and on rows."""
    for rounds, rows in ((1, 4), (2, 4), (5, 2)):
        cells = np.arange(24).reshape(4, 6) < rows * 6
        kept = _kept(generator, (4, 6), 0.7)
        answers = course(Rounds(np.flatnonzero(cells).tolist(), rounds), kept, cells.size)
        yield Vector({"cells": cells, "rounds": number(rounds), "kept": kept}, answers, f"{rounds} rounds")


def _rows(generator: np.random.Generator) -> Iterator[Vector]:
    """Rows that open early and late, with narrow and wide windows, where drafts stay never, often and always."""
    orders = ((4, 1), (4, 4), (1, 2), (8, 3), (3, 9))
    for index, (length, lead) in enumerate((*orders, *orders)):
        shape, share = ((6, 8), (9, 5), (1, 9))[index % 3], (0.5, 0.0, 0.8, 1.0)[index % 4]
        kept = _kept(generator, shape, share)
        answers = course(Rows(list(range(shape[0] * shape[1])), shape[1], length, lead), kept, kept[0].size)
        inputs = {"length": number(length), "row_lead": number(lead), "kept": kept}
        yield Vector(inputs, answers, f"windows of {length}, a lead of {lead}, {shape[0]} rows, {share:.0%} stay")


def _next_guesses(generator: np.random.Generator) -> Iterator[Vector]:
    """Cells behind a rejection, some without a draft, whose p / q lies on both sides of the bound."""
    codes, count = 20, 14
    for (index, how), drafted_share in ((item, share) for item in enumerate(CARRIES) for share in (0.8, 1.0)):
        probs, draft_probs = generator.dirichlet(np.full(codes, 0.7), (2, count))
        drafted, kept = generator.random(count) < drafted_share, generator.random(count) < 0.5
        guesses = np.array([generator.choice(codes, p=row) for row in draft_probs])
        certain = np.arange(count) % 3 == 0
        draft_probs[certain] = np.eye(codes)[guesses[certain]]
        redrawn, fresh = generator.integers(0, codes, (2, count))
        log_probs, draft_log_probs = torch.from_numpy(probs).log(), torch.from_numpy(draft_probs).log()
        scored = Scored(
            window=Window(list(range(count)), draws=True, drafted=count),
            guesses=torch.from_numpy(guesses),
            drafted=torch.from_numpy(drafted),
            log_probs=log_probs,
            draft_log_probs=draft_log_probs,
            attempts=[0] * count,
            places=torch.arange(count),
        )
        kept &= drafted
        judged = Judged(
            chances=torch.from_numpy(kept.astype(np.float64)),
            kept=torch.from_numpy(kept),
            redrawn=torch.from_numpy(redrawn),
            fresh=torch.from_numpy(fresh),
        )
        tokens, log_q = carried(scored, judged, how, slice(0, None))
        inputs = {
            "carry": number(index),
            "guesses": guesses,
            "drafted": drafted,
            "probs": probs,
            "draft_probs": draft_probs,
            "kept": kept,
            "redrawn": redrawn,
            "fresh": fresh,
        }
        answers = {"tokens": tokens.numpy(), "next_probs": log_q.exp().numpy()}
        yield Vector(inputs, answers, f"carry {how}, {drafted.sum()} of {count} cells with a draft")


_SCORED = Output("passes, H, W", "bool, the cells in the windows of each pass")
_DECIDED_IN = Output("H, W", "which pass decided each cell, from 0 on; -1 outside the set")
_KEPT = Field("passes, H, W", "bool, whether a pass keeps the draft that it scores at a cell, if the cell has one")
_CELLS = Field("H, W", "bool, the set that is decided")
_LENGTH = Field("", "cells of a window at most")
CORRECTION_STAGES = (
    Stage(
        "correct_prefix",
        ("METHOD-2",),
        {
            "cells": _CELLS,
            "length": _LENGTH,
            "drafts": Field("", "how many cells of a window hold a draft at most, from the left"),
            "kept": _KEPT,
        },
        {"scored": _SCORED, "decided_in": _DECIDED_IN},
        _prefixes,
    ),
    Stage(
        "correct_rounds",
        ("METHOD-4",),
        {"cells": _CELLS, "rounds": Field("", "passes"), "kept": _KEPT},
        {"scored": _SCORED, "decided_in": _DECIDED_IN},
        _rounds,
    ),
    Stage(
        "correct_rows",
        ("METHOD-5",),
        {"length": _LENGTH, "row_lead": Field("", "tokens of a row that open the one below"), "kept": _KEPT},
        {"scored": _SCORED, "decided_in": _DECIDED_IN},
        _rows,
    ),
    Stage(
        "next_guesses",
        ("METHOD-3",),
        {
            "carry": Field("", "0 is fresh, 1 same, 2 coupled, 3 kept"),
            "guesses": Field("n", "the draft of each cell"),
            "drafted": Field("n", "bool, whether it has one; else its guess means nothing"),
            "probs": Field("n, codes", "p of this pass"),
            "draft_probs": Field("n, codes", "q of the draft; 1 at one that is certain"),
            "kept": Field("n", "bool, whether it stays"),
            "redrawn": Field("n", "what the residual draws in its place; p where there is no draft"),
            "fresh": Field("n", "what p draws by the noise that the carry says"),
        },
        {
            "tokens": Output("n", "the next guess of each cell"),
            "next_probs": Output("n, codes", "q of it", tolerance=PROBABILITY),
        },
        _next_guesses,
    ),
)

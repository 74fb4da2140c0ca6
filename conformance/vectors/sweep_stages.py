"""Stages of sweeps that are functions of arrays alone: what is decided, whole courses, first guesses."""

from collections.abc import Iterator

import numpy as np
import torch

from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.conformance.vectors.function_stages import Array, number
from mulo_sd.reference.sweeps import Sweeps, certain, first_guesses

GUESSES = ("above", "left", "opening")  # by the number that stands for each
CODES = 6  # few, so that guesses often come true


def _decided(generator: np.random.Generator) -> Iterator[Vector]:
    """Guesses that come true from the left for a while, and later again."""
    for count, right in ((1, 1), (1, 0), (7, 7), (7, 0), (7, 3), (7, 6), (12, 5), (12, 11)):
        samples = generator.integers(0, CODES, count)
        guesses = samples.copy()
        guesses[right : right + 1] = (samples[right : right + 1] + 1) % CODES
        guesses[right + 1 :] = np.where(generator.random(count)[right + 1 :] < 0.5, samples[right + 1 :], 0)
        decided = certain(torch.from_numpy(guesses), torch.from_numpy(samples))
        note = f"{count} cells, the first {right} as guessed"
        yield Vector({"guesses": guesses, "samples": samples}, {"decided": number(decided)}, note)


def course(
    cells: Array, by_island: bool, width: int | None, limit: int | None, table: Array, grid: Array
) -> list[Array]:
    """Sweep a set in which a token follows from the one before it; return the tokens, and what each sweep did.

    Args:
        cells: Bool[H, W], the set.
        by_island: Whether its islands are regions.
        width: SWEEP-1.
        limit: SWEEP-4.
        table: Int[N, V], the token of each cell by that of its predecessor; cell 0 has column 0.
        grid: Int[H, W], first guesses, and the tokens outside the set.

    Returns:
        The tokens Int[H, W]; the sweep that decided each cell Int[H, W], -1 outside the set; how many cells each sweep
        sampled Int[sweeps].
    """
    sweeps, tokens = Sweeps(torch.from_numpy(cells), by_island, width, limit), torch.from_numpy(grid.flatten())
    decided_in = np.full(cells.size, -1)
    sampled: list[int] = []
    while swept := sweeps.ready():
        guesses = tokens[swept]
        before = [int(tokens[cell - 1]) if cell else 0 for cell in swept]
        samples = torch.from_numpy(table[swept, before])
        decided = sweeps.settle(swept, guesses, samples)
        tokens[swept] = samples
        decided_in[np.array(swept)[decided.numpy()]] = len(sampled)
        sampled.append(len(swept))
    return [tokens.numpy().reshape(cells.shape), decided_in.reshape(cells.shape), np.array(sampled, dtype=np.int64)]


def _courses(generator: np.random.Generator) -> Iterator[Vector]:
    """Whole sets and islands, by every width and limit; a table in which many a token is its predecessor's equal."""
    orders = [(width, limit) for width in (1, 2, 5, -1) for limit in (-1, 1, 3)]
    for index, (width, limit) in enumerate((*orders, *orders)):
        by_island = index >= len(orders)
        shape = (6, 7) if by_island else (3, 8)
        cells = generator.random(shape) < (0.25 if by_island else (1.0, 0.7)[index % 2])
        table = generator.integers(0, CODES, (cells.size, CODES))
        copied = generator.random(table.shape) < 0.5
        table = np.where(copied, generator.integers(0, CODES, (cells.size, 1)), table)
        grid = generator.integers(0, CODES, shape)
        tokens, decided_in, sampled = course(
            cells, by_island, None if width < 0 else width, None if limit < 0 else limit, table, grid
        )
        inputs = {
            "cells": cells,
            "by_island": np.array(by_island),
            "width": number(width),
            "limit": number(limit),
            "table": table,
            "grid": grid,
        }
        note = f"width {width}, limit {limit}, islands {'on' if by_island else 'off'}"
        yield Vector(inputs, {"tokens": tokens, "decided_in": decided_in, "sampled": sampled}, note)


def _first_guesses(generator: np.random.Generator) -> Iterator[Vector]:
    """Grids without a token, with one row, and with rows that are begun; some cells, or all that follow."""
    width, height = 5, 4
    for kind, name in enumerate(GUESSES):
        for held, wanted in ((0, range(20)), (0, range(3)), (5, range(5, 17)), (8, (8, 9, 10, 12, 13, 15))):
            grid = np.where(np.arange(width * height) < held, generator.integers(0, CODES, width * height), -1)
            grid[11] = 3 if 11 not in wanted and held else -1
            grid[14] = 2 if 14 not in wanted and held else -1
            opening, cells = generator.integers(0, CODES, grid.size), np.array(wanted)
            draws = torch.from_numpy(opening)
            guesses = first_guesses(
                name,
                torch.from_numpy(grid),
                width,
                cells.tolist(),
                lambda chosen, draws=draws: draws[list(chosen)],  # type: ignore[misc]  # bound here
            )
            inputs = {
                "kind": number(kind),
                "grid": grid.reshape(height, width),
                "cells": cells,
                "opening": opening,
            }
            note = f"{name}, {held} tokens there, {len(cells)} cells"
            yield Vector(inputs, {"guesses": guesses.numpy()}, note)


SWEEP_STAGES = (
    Stage(
        "certain",
        ("SWEEP-2",),
        {
            "guesses": Field("n", "codes, of the cells of a region, in raster order"),
            "samples": Field("n", "codes"),
        },
        {"decided": Output("", "how many cells the sweep decides, from the left")},
        _decided,
    ),
    Stage(
        "sweeps",
        ("SWEEP-1", "SWEEP-2", "SWEEP-4"),
        {
            "cells": Field("H, W", "bool, R"),
            "by_island": Field("", "bool, whether islands are regions"),
            "width": Field("", "cells of a region that a sweep samples; -1 is all"),
            "limit": Field("", "the sweep that decides all that is left; -1 is none"),
            "table": Field(
                "N, codes", "the sample of a cell by the token at the raster position before it; 0 before cell 0"
            ),
            "grid": Field("H, W", "first guesses, and the tokens outside R"),
        },
        {
            "tokens": Output("H, W", "as the last sweep leaves them"),
            "decided_in": Output("H, W", "which sweep decided each cell, from 0 on; -1 outside R"),
            "sampled": Output("sweeps", "how many cells each sweep sampled"),
        },
        _courses,
    ),
    Stage(
        "first_guesses",
        ("SWEEP-5",),
        {
            "kind": Field("", "0 is above, 1 left, 2 opening"),
            "grid": Field("H, W", "tokens; -1 where there is none"),
            "cells": Field("n", "raster positions that have no token, ascending"),
            "opening": Field("N", "what each cell draws from the distribution of cell 0"),
        },
        {"guesses": Output("n", "the first guess of each cell")},
        _first_guesses,
    ),
)

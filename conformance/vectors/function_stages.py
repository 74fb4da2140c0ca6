"""Stages that are functions of arrays alone; the answers are those of `reference`, in float64."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.reference.acceptance import accept
from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.codebook import neighbours, pooled_probs
from mulo_sd.reference.grid import expand, islands
from mulo_sd.reference.noise import gumbel_noise, random_words
from mulo_sd.reference.radius import adaptive_radii, entropy
from mulo_sd.reference.sampling import sample, target_log_probs
from mulo_sd.reference.schedule import steps

CASES = 8
CODES = 40
PROBABILITY = 1e-5  # float32 arithmetic of a softmax over some dozen codes
Array = NDArray[Any]


def number(value: float) -> Array:
    """Return a setting as an array without dimensions: float64 or int64."""
    return np.asarray(value)


def _noise(generator: np.random.Generator) -> Iterator[Vector]:
    seeds = [0, 3, 2**32 + 5, 2**64 - 1, *(int(value) for value in generator.integers(0, 2**63, CASES - 4))]
    for index, seed in enumerate(seeds):
        stream, attempt, count = index % 5, index % 3, (7, 16, 33)[index % 3]
        positions = np.sort(generator.choice(4096, 5, replace=False))
        words = random_words(seed, stream, positions.tolist(), count, attempt)
        gumbel = gumbel_noise(seed, stream, positions.tolist(), count, attempt)
        inputs = {
            "seed": np.array(seed, dtype=np.uint64),
            "stream": number(stream),
            "attempt": number(attempt),
            "positions": positions,
            "count": number(count),
        }
        yield Vector(inputs, {"words": words.astype(np.uint32), "gumbel": gumbel.numpy()}, f"seed {seed}")


SAMPLING_SETTINGS = (
    (1.0, 1.0, 0, 1.0),
    (1.5, 1.0, 0, 1.0),
    (0.0, 0.5, 0, 1.0),
    (3.0, 2.0, 7, 1.0),
    (1.2, 1.0, 0, 0.95),
    (1.2, 0.7, 9, 0.6),
    (-1.0, 1.0, 1, 0.5),
    (1.5, 0.0, 3, 0.9),
    (1.0, 0.5, 0, 0.5),
    (2.0, 1.0, 4, 0.25),
)
# Of these, codes are equal by fours, far above all others: top-p equals a sum of probabilities.
SUMS_MET = SAMPLING_SETTINGS[-2:]


def _logits(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    cond, uncond = generator.normal(0, 2, (2, rows, CODES)).astype(np.float32)
    return cond, uncond


def _distribution(generator: np.random.Generator) -> Iterator[Vector]:
    for scale, temperature, top_k, top_p in SAMPLING_SETTINGS:
        cond, uncond = _logits(generator, 6)
        if (scale, temperature, top_k, top_p) in SUMS_MET:
            cond = np.repeat(np.array([[0.0, -500.0]], dtype=np.float32), [4, CODES - 4], axis=1)
            cond = generator.permuted(np.repeat(cond, 6, axis=0), axis=1)
            uncond = cond
        elif top_k > 1:
            cond[0, :] = np.round(cond[0] * 2) / 2  # ties at the threshold
            uncond[0] = cond[0]
        inputs = {
            "cond_logits": cond,
            "uncond_logits": uncond,
            "guidance_scale": number(scale),
            "temperature": number(temperature),
            "top_k": number(top_k),
            "top_p": number(top_p),
        }
        wide = [torch.from_numpy(value).double() for value in (cond, uncond)]
        log_probs = target_log_probs(wide[0], wide[1], scale, temperature, top_k, top_p)
        noise = gumbel_noise(5, 0, range(len(cond)), CODES).double()
        scores = (log_probs + noise).topk(2, dim=1).values
        answers = {
            "log_probs": log_probs.numpy(),
            "tokens": sample(log_probs, noise).numpy(),
            "lead": (scores[:, 0] - scores[:, 1]).numpy(),
            "entropies": entropy(log_probs).numpy(),
        }
        note = f"guidance {scale}, temperature {temperature}, top-k {top_k}, top-p {top_p}"
        yield Vector(inputs | {"noise": noise.float().numpy()}, answers, note)


def _pooling(generator: np.random.Generator) -> Iterator[Vector]:
    for index in range(CASES):
        codes = generator.normal(0, 1, (CODES, 4)).astype(np.float32)
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        if index % 4 == 1:
            codes[7] = codes[3]  # equal codes: the lower comes first, the code itself before it
        count, tau = (1, 4, 16, CODES)[index % 4], (0.05, 0.2, 0.0, 1.5)[index // 2]
        near = neighbours(torch.from_numpy(codes), count)
        probs = generator.dirichlet(np.full(CODES, 0.2), 12)
        draft = generator.integers(0, CODES, 12)
        pooled = pooled_probs(torch.from_numpy(probs), torch.from_numpy(draft), near)
        inputs = {"codes": codes, "count": number(count), "probs": probs, "draft_tokens": draft, "tau": number(tau)}
        answers = {
            "neighbours": near.numpy(),
            "pooled": pooled.numpy(),
            "kept": accept(pooled, tau).numpy(),
            "distance_to_tau": np.where(tau > 1, np.inf, np.abs(pooled.numpy() - tau)),
        }
        yield Vector(inputs, answers, f"{count} neighbours, tau {tau}")


def _expansion(generator: np.random.Generator) -> Iterator[Vector]:
    for index in range(CASES):
        height, width = (8, 8) if index % 2 else (6, 10)
        first, last = ((0, height), (2, height - 1))[index // 4]
        rejected = generator.random((height, width)) < (0.0, 0.04, 0.1, 0.3)[index % 4]
        rejected[:first] = rejected[last:] = False
        entropies, radius = generator.gamma(2.0, 0.8, (last - first, width)), index % 4
        nats = (0.0, 0.5, 1.0, 2.0)[index // 2]
        radii = np.zeros((height, width), dtype=np.int64)
        radii[first:last] = adaptive_radii(torch.from_numpy(entropies), radius, nats).numpy()
        resampled = expand(torch.from_numpy(rejected), torch.from_numpy(radii), first, last)
        inputs = {
            "rejected": rejected,
            "entropies": entropies,
            "radius": number(radius),
            "radius_nats": number(nats),
            "first_row": number(first),
            "last_row": number(last),
        }
        answers = {"radii": radii[first:last], "resampled": resampled.numpy()}
        yield Vector(inputs, answers, f"rows {first} to {last}, radius {radius}, {nats} nats a cell")


def _schedule(generator: np.random.Generator) -> Iterator[Vector]:
    for index in range(2 * CASES):
        height, width = (7, 9) if index % 3 else (1, 12)
        cells = generator.random((height, width)) < (1.0, 0.6, 0.25, 0.5)[index % 4]
        window, by_island = (1, 2, 4, -1)[index // 4], bool(index % 2)
        listed = steps(torch.from_numpy(cells), None if window < 0 else window, by_island)
        step_of, island_of = np.full(cells.shape, -1), np.full(cells.shape, -1)
        for step, cells_of in enumerate(listed):
            step_of.ravel()[cells_of.numpy()] = step
        for island, cells_of in enumerate(islands(torch.from_numpy(cells))):
            island_of.ravel()[cells_of.numpy()] = island
        inputs = {"cells": cells, "window": number(window), "by_island": np.array(by_island)}
        note = f"window {window if window > 0 else 'infinite'}, islands {'on' if by_island else 'off'}"
        yield Vector(inputs, {"step_of": step_of, "island_of": island_of}, note)


def _anchoring(generator: np.random.Generator) -> Iterator[Vector]:
    for strength in (0.0, 1.0, 4.0, 8.0):
        codes = generator.normal(0, 1, (CODES, 4))
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        draft = generator.integers(0, CODES, 10)
        bonus = Anchor(strength, torch.from_numpy(codes), torch.from_numpy(draft), 0).bonus(range(10))
        inputs = {"codes": codes, "draft_tokens": draft, "strength": number(strength)}
        yield Vector(inputs, {"bonus": bonus.double().numpy()}, f"strength {strength}")


SETTING = Field("", "a number")
FUNCTION_STAGES = (
    Stage(
        "noise",
        ("RNG-1", "RNG-2"),
        {
            "seed": Field("", "0 to 2^64 - 1, unsigned"),
            "stream": SETTING,
            "attempt": SETTING,
            "positions": Field("n", "raster positions"),
            "count": Field("", "codes"),
        },
        {
            "words": Output("n, count", "x of RNG-1"),
            "gumbel": Output("n, count", "g of RNG-1, float32", tolerance=1e-6),
        },
        _noise,
    ),
    Stage(
        "distribution",
        ("DIST-1", "RNG-1", "LOCAL-3"),
        {
            "cond_logits": Field("n, codes", "float32"),
            "uncond_logits": Field("n, codes", "float32"),
            "guidance_scale": SETTING,
            "temperature": SETTING,
            "top_k": SETTING,
            "top_p": SETTING,
            "noise": Field("n, codes", "float32, what is added to log p"),
        },
        {
            "log_probs": Output("n, codes", "log p, -inf for codes that a filter drops", tolerance=PROBABILITY),
            "tokens": Output("n", "the code drawn", margin="lead", min_margin=2 * PROBABILITY),
            "entropies": Output("n", "of p, nats", tolerance=PROBABILITY),
        },
        _distribution,
    ),
    Stage(
        "pooling",
        ("POOL-1", "ACCEPT-1"),
        {
            "codes": Field("codes, dim", "float32, normalised"),
            "count": Field("", "k of B_k"),
            "probs": Field("n, codes", "p of each position"),
            "draft_tokens": Field("n", "codes"),
            "tau": SETTING,
        },
        {
            "neighbours": Output("codes, count", "B_k of each code, in its order"),
            "pooled": Output("n", "the sum of p over B_k", tolerance=PROBABILITY),
            "kept": Output("n", "accepted or not", margin="distance_to_tau", min_margin=PROBABILITY),
        },
        _pooling,
    ),
    Stage(
        "expansion",
        ("LOCAL-1", "LOCAL-3"),
        {
            "rejected": Field("H, W", "bool, R_T"),
            "entropies": Field("rows, W", "nats, of the window's cells"),
            "radius": SETTING,
            "radius_nats": SETTING,
            "first_row": Field("", "of the window"),
            "last_row": Field("", "after the window's last"),
        },
        {
            "radii": Output("rows, W", "radius of each cell of the window if it is rejected"),
            "resampled": Output("H, W", "bool, R_X"),
        },
        _expansion,
    ),
    Stage(
        "schedule",
        ("LOCAL-2", "SCHED-1", "SCHED-2"),
        {
            "cells": Field("H, W", "bool, R"),
            "window": Field("", "-1 is infinite"),
            "by_island": Field("", "bool"),
        },
        {
            "step_of": Output("H, W", "the step of each cell, -1 outside R"),
            "island_of": Output("H, W", "the island of each cell, -1 outside R"),
        },
        _schedule,
    ),
    Stage(
        "anchor",
        ("ANCHOR-1",),
        {
            "codes": Field("codes, dim", "normalised"),
            "draft_tokens": Field("n", "codes"),
            "strength": SETTING,
        },
        {"bonus": Output("n, codes", "what is added to log p", tolerance=1e-5)},
        _anchoring,
    ),
)

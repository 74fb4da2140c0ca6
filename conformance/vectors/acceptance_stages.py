"""Stages of acceptance: with which chance a draft token stays, and what is drawn where it does not, a stage a rule."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.conformance.vectors.function_stages import PROBABILITY, SETTING, Array, number
from mulo_sd.reference.acceptances import ACCEPTANCES
from mulo_sd.reference.codebook import Codes, neighbours
from mulo_sd.reference.settings import Settings

Changes = Mapping[str, float]
DRAFTS = 64  # of a window: enough to meet each bound exactly where numbers are equal
SMOOTH_CODES = 40
SHARES = 32  # of a probability where probabilities are equal: whole numbers of them are exact in any arithmetic


@dataclass(frozen=True)
class RuleCases:
    """How a rule is asked.

    Attributes:
        rules: What it implements.
        smooth: Settings for windows of random numbers.
        tied: Settings for windows in which probabilities and distances are equal, and meet bounds exactly. Where a rule
            compares with what is not exact in binary, these stay away from it.
        sees_codes: Whether it looks at the codebook.
    """

    rules: tuple[str, ...]
    smooth: tuple[Changes, ...]
    tied: tuple[Changes, ...]
    sees_codes: bool = False


_GROUPS = ("group", "group_probability", "group_distance")
_BEST = (
    ({"top_beta": 5, "top_tau": 3.0}, {"top_beta": 40, "top_tau": 1.0}),
    ({"top_beta": 1, "top_tau": 0.0}, {"top_beta": 3, "top_tau": 1000.0}),
)
RULE_CASES: Mapping[str, RuleCases] = {
    "pooled": RuleCases(
        ("POOL-1", "ACCEPT-1"),
        ({"tau": 0.1, "neighbours": 4}, {"tau": 0.0, "neighbours": 1}),
        ({"tau": 0.25, "neighbours": 6}, {"tau": 1.5, "neighbours": 24}),
        sees_codes=True,
    ),
    "lossless": RuleCases(("ACCEPT-2",), ({}, {}), ({}, {})),
    "grouped": RuleCases(
        ("ACCEPT-3",),
        tuple(dict(zip(_GROUPS, values, strict=True)) for values in ((10, 0.15, 0.5), (14, 1.0, 4.0), (3, 0.05, 2.0))),
        tuple(
            dict(zip(_GROUPS, values, strict=True))
            for values in ((10, 0.125, 2.0), (5, 0.0625, 1.0), (1, 1.0, 4.0), (60, 0.25, 3.0))
        ),
        sees_codes=True,
    ),
    "annealed": RuleCases(
        ("ACCEPT-4",),
        ({"anneal": 1.1, "anneal_rate": 0.7}, {"anneal": 3.0, "anneal_rate": 0.1}),
        ({"anneal": 0.0, "anneal_rate": 0.7}, {"anneal": 1.0, "anneal_rate": 0.0}, {"anneal": 2.0, "anneal_rate": 1.0}),
    ),
    "lantern": RuleCases(
        ("ACCEPT-5",),
        ({"lantern_neighbours": 1000, "lantern_delta": 0.4}, {"lantern_neighbours": 5, "lantern_delta": 0.1}),
        (
            {"lantern_neighbours": 9, "lantern_delta": 0.25},
            {"lantern_neighbours": 1000, "lantern_delta": 1.0},
            {"lantern_neighbours": 4, "lantern_delta": 0.0},
        ),
        sees_codes=True,
    ),
    "lantern-plus": RuleCases(
        ("ACCEPT-6",),
        ({"lantern_plus_neighbours": 10, "lantern_factor": 5.0}, {"lantern_plus_neighbours": 3, "lantern_factor": 2.0}),
        ({"lantern_plus_neighbours": 9, "lantern_factor": 3.0}, {"lantern_plus_neighbours": 9, "lantern_factor": 1.0}),
        sees_codes=True,
    ),
    "top-beta": RuleCases(("ACCEPT-7",), *_BEST),
    "top-beta-sampled": RuleCases(("ACCEPT-7",), *_BEST),
    "typical": RuleCases(
        ("ACCEPT-8",),
        ({"typical_threshold": 0.09, "typical_factor": 0.3}, {"typical_threshold": 1.0, "typical_factor": 0.9}),
        ({"typical_threshold": 0.25, "typical_factor": 1000.0}, {"typical_threshold": 0.5, "typical_factor": 0.0}),
    ),
}


def stage_of(acceptance: str) -> str:
    """Return the name of an acceptance's stage."""
    return f"accept_{acceptance.replace('-', '_')}"


def _smooth(generator: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    """Return p and a q that is related to it, Float64[count, V] each, and codes, Float32[V, d]."""
    concentration = generator.choice([0.1, 0.5, 2.0], (count, 1))
    probs, others = generator.gamma(concentration, size=(2, count, SMOOTH_CODES)) + 1e-9
    probs /= probs.sum(axis=1, keepdims=True)
    draft_probs = 0.6 * probs + 0.4 * others / others.sum(axis=1, keepdims=True)
    codes = generator.normal(0, 1, (SMOOTH_CODES, 4)).astype(np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    return probs, draft_probs / draft_probs.sum(axis=1, keepdims=True), codes


def _tied(generator: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    """Return the same where every number is exact: shares of 1 / SHARES, codes at the corners of the 24-cell."""
    axes = np.concatenate([np.eye(4), -np.eye(4)])
    corners = np.array(list(product((0.5, -0.5), repeat=4)))
    codes = generator.permutation(np.concatenate([axes, corners])).astype(np.float32)
    codes[generator.integers(0, 12)] = codes[12]  # two equal codes
    few = generator.permuted(np.repeat([[1.0, 0.0]], [8, len(codes) - 8], axis=1).repeat(count, axis=0), axis=1)
    probs, draft_probs = (generator.multinomial(SHARES, few / 8) / SHARES for _ in range(2))
    return probs, draft_probs, codes


def _drafts(generator: np.random.Generator, probs: Array, draft_probs: Array) -> Array:
    """Draw drafts from q, Int64[n]; make every other one certain, and the first rows what is seldom met by chance."""
    count, vocabulary = probs.shape
    drafts = np.array([generator.choice(vocabulary, p=row) for row in draft_probs])
    certain = np.arange(count) % 2 == 1
    draft_probs[certain] = np.eye(vocabulary)[drafts[certain]]
    if count > 3:
        draft_probs[0] = probs[0]  # nothing is left of p
        drafts[0] = probs[0].argmax()
        probs[1] = draft_probs[1]  # both certain of one token
        probs[3, drafts[3]] = 0  # the target never draws the draft token
        probs[3, probs[3].argmax()] += 1 - probs[3].sum()
    return drafts


def _vectors(acceptance: str, generator: np.random.Generator) -> Iterator[Vector]:
    """Windows of random numbers and of equal ones, with one draft and with many."""
    cases = RULE_CASES[acceptance]
    kinds: tuple[tuple[str, Any, tuple[Changes, ...]], ...] = (
        ("random numbers", _smooth, cases.smooth),
        ("equal numbers", _tied, cases.tied),
    )
    for kind, world, each in kinds:
        for (index, changes), count in product(enumerate(each), (DRAFTS, 1)):
            if count == 1 and index:
                continue
            probs, draft_probs, vectors = world(generator, count)
            drafts = _drafts(generator, probs, draft_probs)
            settings = Settings(**changes)  # type: ignore[arg-type]  # each is of its setting's kind
            codes = torch.from_numpy(vectors)
            near = neighbours(codes, min(settings.neighbours, len(vectors)))
            accepted = ACCEPTANCES[acceptance](
                torch.from_numpy(probs),
                torch.from_numpy(draft_probs),
                torch.from_numpy(drafts),
                torch.arange(count),
                settings,
                Codes(codes, near),
            )
            weights = accepted.residuals.numpy()
            sums = weights.sum(axis=1, keepdims=True)
            redrawn = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), probs)
            inputs = {"probs": probs, "draft_probs": draft_probs, "draft_tokens": drafts}
            inputs |= {"codes": vectors} if cases.sees_codes else {}
            inputs |= {name: number(value) for name, value in changes.items()}
            note = ", ".join(
                [
                    f"{count} draft{'s' if count > 1 else ''} of {kind}",
                    *(f"{name} {value}" for name, value in changes.items()),
                ]
            )
            yield Vector(inputs, {"chances": accepted.chances.numpy(), "redrawn": redrawn}, note)


def _stage(acceptance: str) -> Stage:
    cases = RULE_CASES[acceptance]
    return Stage(
        stage_of(acceptance),
        ("METHOD-2", *cases.rules),
        {
            "probs": Field("n, codes", "p of the cells of a window, from the left"),
            "draft_probs": Field("n, codes", "q of each draft; 1 at one that is certain"),
            "draft_tokens": Field("n", "codes"),
            **({"codes": Field("codes, dim", "float32, normalised")} if cases.sees_codes else {}),
            **dict.fromkeys(cases.smooth[0], SETTING),
        },
        {
            "chances": Output("n", "with which each draft token stays", tolerance=PROBABILITY),
            "redrawn": Output(
                "n, codes",
                "probability of each code in place of a draft that does not stay: the residual, or p where it is empty",
                tolerance=PROBABILITY,
            ),
        },
        partial(_vectors, acceptance),
    )


ACCEPTANCE_STAGES = tuple(_stage(acceptance) for acceptance in RULE_CASES)

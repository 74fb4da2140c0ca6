"""The law of what lossless methods decide, by enumeration of their choices on models of a few images.

All seeds cannot be listed, but all choices can: whether a draft stays, what replaces it, what later cells go on with.
Where the draws of a cell share their noise from pass to pass, two codes make them one number between 0 and 1.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

import torch

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.on_the_reference.enumeration import Tiny
from mulo_sd.reference.acceptances import ACCEPTANCES, Acceptor
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings

Tokens = tuple[int, ...]
Law = dict[Tokens, float]
Given = Callable[[Tokens], tuple[float, ...]]  # the distribution of the cell after some tokens
# Draws of one cell by the same noise: after which tokens, and what was drawn.
History = tuple[tuple[Tokens, int], ...]
# The draft of a cell, the tokens after which it was drawn (None: it is certain), and what its noise drew before.
Guess = tuple[int, Tokens | None, History]


@torch.inference_mode()
def target_given(tiny: Tiny) -> Given:
    """Return the target's conditional distributions, from whole sequences at once."""
    model, condition = tiny.build()
    grids = tiny.grids
    positions = torch.arange(model.config.sequence_length - 1)[None].expand(len(grids), -1)
    [prefix] = condition.prefixes(model, 1.0)
    embedded = model.prefix_embeddings(prefix[None]).expand(len(grids), -1, -1)
    logits = model(torch.cat([embedded, model.token_embeddings(grids[:, :-1])], dim=1), positions)
    rows = logits[:, model.config.prefix_length - 1 :].tolist()
    known = {
        tuple(grid[:cell]): tuple(oracles.probs(rows[index][cell]))
        for index, grid in enumerate(grids.tolist())
        for cell in range(tiny.cells)
    }
    return known.__getitem__


def raster_law(tiny: Tiny, given: Given) -> Law:
    """Return the law of images that are drawn token by token."""
    law: Law = {(): 1.0}
    for _ in range(tiny.cells):
        law = {
            (*tokens, code): weight * prob for tokens, weight in law.items() for code, prob in enumerate(given(tokens))
        }
    return law


class Enumeration:
    """All courses of a method on a tiny model.

    Args:
        tiny: The model's sizes.
        given: Its conditional distributions.
        rule: The acceptance.
        carry: METHOD-3, "fresh", "same" (of two codes) or "coupled".
    """

    def __init__(self, tiny: Tiny, given: Given, rule: Acceptor, carry: str = "fresh") -> None:
        self.tiny, self.given, self.rule, self.carry = tiny, given, rule, carry
        self.codes = Codes(torch.eye(tiny.codes, dtype=torch.float64), torch.arange(tiny.codes)[:, None])
        self.judge = lru_cache(maxsize=None)(self._judge)

    def _judge(
        self, probs: tuple[float, ...], draft_probs: tuple[float, ...], token: int
    ) -> tuple[float, tuple[float, ...]]:
        """Return the chance of a draft token, and the distribution of what replaces it."""
        target, source = (torch.tensor([row], dtype=torch.float64) for row in (probs, draft_probs))
        accepted = self.rule(target, source, torch.tensor([token]), torch.tensor([0]), Settings(), self.codes)
        weights = accepted.residuals[0].tolist()
        total = sum(weights)
        return float(accepted.chances[0]), tuple(weight / total for weight in weights) if total > 0 else probs

    def certain(self, token: int) -> tuple[float, ...]:
        """Return the distribution that has nothing but a token."""
        return tuple(float(code == token) for code in range(self.tiny.codes))

    def source(self, guess: Guess) -> tuple[float, ...]:
        """Return q of a draft."""
        return self.certain(guess[0]) if guess[1] is None else self.given(guess[1])

    def by_sweeps(self, window: int) -> Law:
        """Return the law of images by METHOD-2 with drafts from the last sweep; first guesses are code 0."""

        @cache
        def passes(decided: Tokens, guesses: tuple[Guess, ...]) -> dict[Tokens, float]:
            left = self.tiny.cells - len(decided)
            if left == 0:
                return {decided: 1.0}
            window_guesses = (*guesses, *[(0, None, ())] * window)[: min(window, left)]
            law: dict[Tokens, float] = defaultdict(float)
            for weight, tokens, later in self._outcomes(decided, window_guesses):
                for image, prob in passes(tokens, later).items():
                    law[image] += weight * prob
            return law

        return passes((), ())

    def _outcomes(
        self, decided: Tokens, guesses: tuple[Guess, ...]
    ) -> Iterator[tuple[float, Tokens, tuple[Guess, ...]]]:
        """Yield what a pass may come to: how likely, what is decided, and the later cells' next drafts."""
        weight = 1.0
        for place, guess in enumerate(guesses):
            chance, replacement = self.judge(self.given(decided), self.source(guess), guess[0])
            for code, prob in enumerate(replacement):
                if (1 - chance) * prob > 0:
                    for share, later in self._later((*decided, guess[0]), guesses[place + 1 :]):
                        yield weight * (1 - chance) * prob * share, (*decided, code), later
            weight, decided = weight * chance, (*decided, guess[0])
        if weight > 0:
            yield weight, decided, ()

    def _later(self, before: Tokens, guesses: tuple[Guess, ...]) -> Iterator[tuple[float, tuple[Guess, ...]]]:
        """Yield the next drafts of cells behind a rejection, drawn from p of this pass."""
        if not guesses:
            yield 1.0, ()
            return
        guess = guesses[0]
        for prob, token, history in self._next(before, guess):
            for share, later in self._later((*before, guess[0]), guesses[1:]):
                if prob > 0:
                    yield prob * share, ((token, before, history), *later)

    def _next(self, before: Tokens, guess: Guess) -> Iterator[tuple[float, int, History]]:
        probs = self.given(before)
        if self.carry == "coupled":
            chance, replacement = self.judge(probs, self.source(guess), guess[0])
            for code, prob in enumerate(replacement):
                yield (chance if code == guess[0] else 0.0) + (1 - chance) * prob, code, ()
        elif self.carry == "same":
            low, high = self._known(guess[2])
            for code in (0, 1):
                start, end = (low, min(high, probs[1])) if code else (max(low, probs[1]), high)
                yield max(0.0, end - start) / (high - low), code, (*guess[2], (before, code))
        else:
            for code, prob in enumerate(probs):
                yield prob, code, ()

    def _known(self, history: History) -> tuple[float, float]:
        """Return between which numbers a cell's noise lies: code 1 is drawn where p of it is above that number."""
        low, high = 0.0, 1.0
        for before, code in history:
            prob = self.given(before)[1]
            low, high = (low, min(high, prob)) if code else (max(low, prob), high)
        return low, high

    def by_chains(self, drafting: Given, length: int) -> Law:
        """Return the law of images by a chain of drafts from any distributions, one more cell without a draft."""

        @cache
        def passes(decided: Tokens) -> dict[Tokens, float]:
            if len(decided) == self.tiny.cells:
                return {decided: 1.0}
            law: dict[Tokens, float] = defaultdict(float)
            for weight, tokens in self._chain(decided, drafting, length):
                for image, prob in passes(tokens).items():
                    law[image] += weight * prob
            return law

        return passes(())

    def _chain(self, decided: Tokens, drafting: Given, length: int) -> Iterator[tuple[float, Tokens]]:
        if len(decided) == self.tiny.cells:
            yield 1.0, decided
            return
        if length == 0:
            yield from ((prob, (*decided, code)) for code, prob in enumerate(self.given(decided)))
            return
        for token, drawn in enumerate(drafting(decided)):
            chance, replacement = self.judge(self.given(decided), drafting(decided), token)
            yield from (
                (drawn * chance * weight, tokens)
                for weight, tokens in self._chain((*decided, token), drafting, length - 1)
            )
            yield from (
                (drawn * (1 - chance) * prob, (*decided, code)) for code, prob in enumerate(replacement) if chance < 1
            )

    def by_trees(self, drafting: Given, widths: Tokens, certain: bool) -> Law:
        """Return the law of images by trees of so many siblings a depth: the best ones, certain, or drawn ones."""

        @cache
        def passes(decided: Tokens) -> dict[Tokens, float]:
            if len(decided) == self.tiny.cells:
                return {decided: 1.0}
            law: dict[Tokens, float] = defaultdict(float)
            for weight, tokens in self._walk(decided, drafting, widths, certain):
                for image, prob in passes(tokens).items():
                    law[image] += weight * prob
            return law

        return passes(())

    def _walk(self, decided: Tokens, drafting: Given, widths: Tokens, certain: bool) -> Iterator[tuple[float, Tokens]]:
        if len(decided) == self.tiny.cells:
            yield 1.0, decided
            return
        siblings = widths[0] if widths else 0
        for weight, tokens, stays in self._siblings(self.given(decided), drafting(decided), siblings, certain):
            if stays:
                for share, more in self._walk((*decided, tokens), drafting, widths[1:], certain):
                    yield weight * share, more
            else:
                yield weight, (*decided, tokens)

    def _siblings(
        self, probs: tuple[float, ...], draft_probs: tuple[float, ...], count: int, certain: bool
    ) -> Iterator[tuple[float, int, bool]]:
        """Yield how likely a cell gets a token, and whether it is a sibling that stays."""
        if count == 0 or sum(draft_probs) == 0:
            yield from ((prob, code, False) for code, prob in enumerate(probs) if prob > 0)
            return
        total, best = sum(draft_probs), max(range(len(probs)), key=lambda code: (draft_probs[code], -code))
        normal = tuple(prob / total for prob in draft_probs)
        for token, drawn in enumerate(self.certain(best) if certain else normal):
            if drawn > 0:
                chance, replacement = self.judge(probs, self.certain(token) if certain else normal, token)
                yield drawn * chance, token, True
                left = tuple(0.0 if code == token else prob for code, prob in enumerate(draft_probs))
                if chance < 1:
                    for weight, code, stays in self._siblings(replacement, left, count - 1, certain):
                        yield drawn * (1 - chance) * weight, code, stays


def distance(one: Law, other: Law) -> float:
    """Return the total variation of two laws of images."""
    return math.fsum(abs(one.get(image, 0.0) - other.get(image, 0.0)) for image in one.keys() | other.keys()) / 2


def rule_at(name: str, **changes: Any) -> Acceptor:
    """Return a rule of acceptance at settings of its own."""
    settings = Settings(mode="sjd", **changes)
    return lambda probs, draft_probs, drafts, places, _, codes: ACCEPTANCES[name](
        probs, draft_probs, drafts, places, settings, codes
    )

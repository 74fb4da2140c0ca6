"""An answer joins what cell 0's scores say with what its pass's say, and holds all of it against NaN."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Floats, Judgement, Tokens
from mulo_sd.engines.backends.finite import LogitsError
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.loop.answer import Answer, joined
from mulo_sd.engines.rules.noise import NoiseSource

CODES, CELLS = 8, 5
LOGITS = np.random.default_rng(3).standard_normal((2, CELLS, CODES), dtype=np.float32)
DISTRIBUTION = Distribution(guidance_scale=1.5, temperature=0.8, top_k=5)
NEIGHBOURS: Tokens = np.tile(np.arange(CODES)[:, None], 2)


@dataclass(frozen=True, eq=False)
class Grown(Judgement):
    """What a later acceptance rule would add."""

    draft_probs: Floats | None = None


class GrownScores(ArrayScores):
    """Scores that compute it."""

    def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Grown:
        judgement = super().judge(rows, distribution, draft_tokens, neighbours)
        return Grown(judgement.pooled_probs, judgement.entropies, judgement.pooled_probs * np.float32(0.5))


def split(first: type[ArrayScores], others: type[ArrayScores]) -> Answer:
    """Return an answer whose first cell comes from another pass than the others."""
    cells = np.arange(CELLS)
    return Answer(cells, np.array([-1, 0, 1, 2, 3]), others(LOGITS[:, 1:]), first(LOGITS[:, :1]), "here")


def test_parts_are_joined_in_order() -> None:
    rows, drafts, source = np.arange(CELLS), np.arange(CELLS) % CODES, NoiseSource(1, 0, CELLS, CODES)
    whole, answer = ArrayScores(LOGITS), split(ArrayScores, ArrayScores)
    expected = whole.judge(rows, DISTRIBUTION, drafts, NEIGHBOURS)
    for judgement in (
        answer.judge(DISTRIBUTION, drafts, NEIGHBOURS),
        answer.only(rows).judge(DISTRIBUTION, drafts, NEIGHBOURS),
    ):
        np.testing.assert_array_equal(judgement.pooled_probs, expected.pooled_probs)
        np.testing.assert_array_equal(judgement.entropies, expected.entropies)
    noise = source.rows(rows)
    drawn, right = answer.draw(DISTRIBUTION, noise), whole.draw(rows, DISTRIBUTION, noise)
    np.testing.assert_array_equal(drawn.tokens, right.tokens)
    np.testing.assert_array_equal(drawn.log_probs, right.log_probs)
    np.testing.assert_array_equal(answer.sample(DISTRIBUTION, source, None), right.tokens)


def test_a_judgement_that_grew() -> None:
    """A field that all parts have is joined; one that a backend has left out is None, and the others are there."""
    drafts = np.arange(CELLS) % CODES
    judgement: Any = split(GrownScores, GrownScores).judge(DISTRIBUTION, drafts, NEIGHBOURS)
    np.testing.assert_array_equal(judgement.draft_probs, judgement.pooled_probs / 2)
    halves = [Grown(np.ones(2, np.float32), np.ones(2, np.float32), given) for given in (np.ones(2, np.float32), None)]
    whole = joined(halves)
    assert isinstance(whole, Grown)
    assert whole.draft_probs is None
    assert whole.pooled_probs.tolist() == whole.entropies.tolist() == [1.0] * 4


@pytest.mark.parametrize("name", ["pooled_probs", "entropies", "draft_probs"])
def test_no_field_is_nan(name: str) -> None:
    class Spoiled(GrownScores):
        def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Grown:
            judgement = super().judge(rows, distribution, draft_tokens, neighbours)
            vars(judgement)[name][-1] = np.nan
            return judgement

    with pytest.raises(LogitsError, match=rf"^here: expected numbers for {name}, got 1 NaN of {CELLS}$"):
        split(GrownScores, Spoiled).judge(DISTRIBUTION, np.arange(CELLS), NEIGHBOURS)

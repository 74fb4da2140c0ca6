"""The scores of the cells of a query, as the loop draws from them and judges by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mulo_sd.engines.backends.array_scores import guided
from mulo_sd.engines.backends.base import Draw, Floats, Judgement, Scores, Tokens
from mulo_sd.engines.backends.finite import check_drawn, check_made
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource


@dataclass(frozen=True, eq=False)
class Answer:
    """The scores of the cells of a query: rows of its pass, and for cell 0 those of the prefill (GRID-2).

    Whatever it draws or judges is held against NaN.

    Attributes:
        cells: Int[n], grid positions, ascending.
        rows: Int[n], of the pass; -1 for cell 0.
        scores: Of the pass; None where nothing was fed.
        first: Of cell 0.
        where: Which graph and pass, for messages.
    """

    cells: Tokens
    rows: Tokens
    scores: Scores | None
    first: Scores
    where: str = "logits"

    def _parts(self) -> list[tuple[Scores, slice, Tokens]]:
        """Return scores, the cells' places in this answer, and their rows."""
        opening = 1 if len(self.rows) and self.rows[0] < 0 else 0
        parts: list[tuple[Scores, slice, Tokens]] = []
        if opening:
            parts.append((self.first, slice(0, 1), np.zeros(1, dtype=np.int64)))
        if self.scores is not None and opening < len(self.rows):
            parts.append((self.scores, slice(opening, len(self.rows)), self.rows[opening:]))
        return parts

    def only(self, cells: Sequence[int] | Tokens) -> "Answer":
        """Return the answer for some of its cells, ascending."""
        chosen = np.asarray(cells, dtype=np.int64)
        return Answer(chosen, self.rows[np.searchsorted(self.cells, chosen)], self.scores, self.first, self.where)

    def logits(self) -> Floats:
        """Return the logits of all cells in the host's memory, Float32[B, n, V]."""
        return np.concatenate([scores.logits()[:, rows] for scores, _, rows in self._parts()], axis=1)

    def draw(self, distribution: Distribution, noise: Floats) -> Draw:
        """As `Scores.draw`, for all cells.

        Raises:
            LogitsError: the logits of a row, or its log p, are no numbers.
        """
        draws = [scores.draw(rows, distribution, noise[places]) for scores, places, rows in self._parts()]
        drawn = draws[0] if len(draws) == 1 else Draw(*map(np.concatenate, zip(*draws, strict=True)))
        check_drawn(drawn.tokens, self.where)
        check_made(drawn.log_probs, self.where, "numbers for log p")
        return drawn

    def sample(self, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None) -> Tokens:
        """As `Scores.sample`, for all cells.

        Raises:
            LogitsError: the logits of a row are no numbers.
        """
        samples = [
            scores.sample(rows, self.cells[places], distribution, noise, anchor)
            for scores, places, rows in self._parts()
        ]
        tokens = samples[0] if len(samples) == 1 else np.concatenate(samples)
        check_drawn(tokens, self.where)
        return tokens

    def best(self, distribution: Distribution, codes: int) -> Tokens:
        """Return the likeliest of the first codes for each cell, Int[n]; of equal ones the lowest.

        Raises:
            LogitsError: the logits of a row are no numbers.
        """
        rows = [guided(scores.logits()[:, rows], distribution.guidance_scale) for scores, _, rows in self._parts()]
        logits = np.concatenate(rows)[:, :codes]
        check_made(logits, self.where, "numbers for logits")
        best: Tokens = logits.argmax(axis=1)
        return best

    def judge(self, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """As `Scores.judge`, for all cells.

        Raises:
            LogitsError: a field is NaN somewhere.
        """
        judgement = joined(
            [
                scores.judge(rows, distribution, draft_tokens[places], neighbours)
                for scores, places, rows in self._parts()
            ]
        )
        for name, values in vars(judgement).items():
            if values is not None:
                check_made(values, self.where, f"numbers for {name}")
        return judgement


def joined(parts: Sequence[Judgement]) -> Judgement:
    """Return one judgement of all rows; of a field that one part has left out, nothing."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, list[Any]] = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
    whole: dict[str, Any] = {
        name: None if any(values is None for values in column) else np.concatenate(column)
        for name, column in columns.items()
    }
    return type(parts[0])(**whole)

"""What a pass says of the tokens that follow those it fed: logits that stay where the backend computed them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import check_tokens, run
from mulo_sd.engines.backends.base import Backend, KVCache, ScoringBackend, Tensors
from mulo_sd.engines.backends.finite import check_drawn, check_made
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.settings import Settings

Tokens = NDArray[np.int64]
Floats = NDArray[np.float32]


class Scores(Protocol):
    """Logits of one pass, [B, T, V], for as long as the cache has no other pass.

    A row is the number of a fed token; n rows, ascending, are asked at once. Where the logits of a row are not finite,
    its token is -1, and its probabilities and entropy are NaN: then the decode ends with `LogitsError`.
    """

    def logits(self) -> Floats:
        """Return all of them, Float32[B, T, V]."""

    def last(self) -> "Scores":
        """Return those of the last row as scores of one row, which outlive the next pass."""

    def draw(self, rows: Tokens, settings: Settings, noise: Floats) -> tuple[Tokens, Floats]:
        """Sample one token a row by given noise, Float32[n, V]; return Int[n], and log p, Float32[n, V] (RNG-1)."""

    def sample(
        self, rows: Tokens, cells: Tokens, settings: Settings, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample one token a row, Int[n], by its cell's own noise, towards the anchor's draft (RNG-1, ANCHOR-1)."""

    def judge(
        self, rows: Tokens, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool
    ) -> tuple[Floats, Floats]:
        """Return pooled probabilities of draft tokens and the entropies of p, Float32[n] each (POOL-1, LOCAL-3).

        Args:
            rows: Int[n].
            settings: For DIST-1.
            draft_tokens: Int[n].
            neighbours: Int[V, k].
            raw: Leave temperature and filters out (DIST-2).
        """


class PartedScores(Scores, Protocol):
    """Scores of a pass that several decodes share."""

    def part(self, first_row: int, batch: int, fed: int) -> Scores:
        """Return those of one decode: `batch` rows of the pass from `first_row` on, of the first `fed` tokens."""


def setting_inputs(settings: Settings, raw: bool = False) -> dict[str, NDArray[Any]]:
    """Return what sampler and acceptance graphs need beside logits to make p_u (DIST-1, DIST-2)."""
    return {
        "guidance_scale": np.array(settings.guidance_scale, dtype=np.float32),
        "temperature": np.array(1.0 if raw else settings.temperature, dtype=np.float32),
        "top_k": np.array(0 if raw else settings.top_k, dtype=np.int64),
        "top_p": np.array(1.0 if raw else settings.top_p, dtype=np.float32),
    }


def distribution_inputs(logits: Floats, settings: Settings, raw: bool = False) -> dict[str, NDArray[Any]]:
    """Return what sampler and acceptance graphs need to make p_u of logits Float32[B, n, V] (DIST-1, DIST-2)."""
    return {"cond_logits": logits[0], "uncond_logits": logits[-1]} | setting_inputs(settings, raw)


class HostLogits:
    """Logits of a pass in the host's memory, Float32[B, T, V]."""

    def __init__(self, logits: Floats) -> None:
        self.all = logits

    def of(self, rows: Tokens) -> Floats:
        """Return [B, n, V]; consecutive rows without a copy."""
        first, count = int(rows[0]), len(rows)
        if int(rows[-1]) - first == count - 1:
            return self.all[:, first : first + count]
        return self.all[:, rows]

    def logits(self) -> Floats:
        """Return all of them."""
        return self.all


class HostScores(HostLogits):
    """Scores of such logits, with the backend's graphs for sampling and acceptance."""

    def __init__(self, backend: Backend, logits: Floats) -> None:
        super().__init__(logits)
        self.backend = backend

    def last(self) -> "HostScores":
        """Return the last row's."""
        return HostScores(self.backend, self.all[:, -1:].copy())

    def draw(self, rows: Tokens, settings: Settings, noise: Floats) -> tuple[Tokens, Floats]:
        """Sample by given noise."""
        inputs: Tensors = distribution_inputs(self.of(rows), settings) | {"noise": noise}
        count, codes = len(rows), self.all.shape[2]
        tokens, log_probs = run(
            *(self.backend, "sampler", inputs), tokens=(np.int64, (count,)), log_probs=(np.float32, (count, codes))
        )
        # -1 may stand for a row whose logits are no numbers.
        check_tokens(self.backend, "sampler", "tokens", tokens, codes, least=-1)
        return tokens, log_probs

    def sample(
        self, rows: Tokens, cells: Tokens, settings: Settings, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise."""
        own = noise.rows(cells)
        return self.draw(rows, settings, own if anchor is None else own + anchor.bonus(cells))[0]

    def judge(
        self, rows: Tokens, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool
    ) -> tuple[Floats, Floats]:
        """Pool the target's probability around draft tokens."""
        inputs = distribution_inputs(self.of(rows), settings, raw)
        inputs |= {"draft_tokens": draft_tokens, "neighbours": neighbours}
        each = (np.float32, (len(rows),))
        pooled, entropies = run(self.backend, "acceptance", inputs, pooled_probs=each, entropies=each)
        return pooled, entropies


def scorer(backend: Backend) -> Callable[[str, KVCache, Tensors], Scores]:
    """Return what runs a pass and returns its scores: the backend's own way, or by logits that it gives to the host."""
    if isinstance(backend, ScoringBackend):
        return backend.score
    return lambda graph, cache, inputs: HostScores(backend, backend.feed(graph, cache, inputs))


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
        asked = np.asarray(cells, dtype=np.int64)
        return Answer(asked, self.rows[np.searchsorted(self.cells, asked)], self.scores, self.first, self.where)

    def draw(self, settings: Settings, noise: Floats) -> tuple[Tokens, Floats]:
        """As `Scores.draw`, for all cells."""
        found = [scores.draw(rows, settings, noise[places]) for scores, places, rows in self._parts()]
        tokens, log_probs = found[0] if len(found) == 1 else _pair(found)
        check_drawn(tokens, self.where)
        check_made(log_probs, self.where, "numbers for log p")
        return tokens, log_probs

    def sample(self, settings: Settings, noise: NoiseSource, anchor: Anchor | None) -> Tokens:
        """As `Scores.sample`, for all cells."""
        found = [
            scores.sample(rows, self.cells[places], settings, noise, anchor) for scores, places, rows in self._parts()
        ]
        tokens = found[0] if len(found) == 1 else _joined(found)
        check_drawn(tokens, self.where)
        return tokens

    def judge(
        self, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool = False
    ) -> tuple[Floats, Floats]:
        """As `Scores.judge`, for all cells."""
        found = [
            scores.judge(rows, settings, draft_tokens[places], neighbours, raw)
            for scores, places, rows in self._parts()
        ]
        pooled, entropies = found[0] if len(found) == 1 else _pair(found)
        check_made(pooled, self.where, "pooled probabilities")
        check_made(entropies, self.where, "entropies")
        return pooled, entropies


def _pair(parts: list[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    return _joined([one for one, _ in parts]), _joined([two for _, two in parts])


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts)

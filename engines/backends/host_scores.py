"""The logits of a pass in the host's memory: what is drawn and judged there is written once, here."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import check_tokens, run
from mulo_sd.engines.backends.base import Backend, Draw, Floats, Judgement, KVCache, Scores, Tensors, Tokens
from mulo_sd.engines.backends.cell_noise import CellNoise
from mulo_sd.engines.bundle.contract import GRAPHS_WITH_HIDDEN
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource


def setting_inputs(distribution: Distribution) -> dict[str, NDArray[Any]]:
    """Return what sampler and acceptance graphs need beside logits to make p_u (DIST-1)."""
    return {
        "guidance_scale": np.array(distribution.guidance_scale, dtype=np.float32),
        "temperature": np.array(distribution.temperature, dtype=np.float32),
        "top_k": np.array(distribution.top_k, dtype=np.int64),
        "top_p": np.array(distribution.top_p, dtype=np.float32),
    }


def distribution_inputs(logits: Floats, distribution: Distribution) -> dict[str, NDArray[Any]]:
    """Return what sampler and acceptance graphs need to make p_u of logits Float32[B, n, V] (DIST-1)."""
    return {"cond_logits": logits[0], "uncond_logits": logits[-1]} | setting_inputs(distribution)


class HostLogits(Scores):
    """Logits of a pass in the host's memory, Float32[B, T, V].

    A subclass says how some rows of them are drawn and judged.
    """

    def __init__(self, logits: Floats, hidden: Floats | None = None) -> None:
        """Take logits, and the hidden states that they were made of where the graph gives them."""
        self.all, self.states = logits, hidden

    @abstractmethod
    def _draw(self, logits: Floats, distribution: Distribution, noise: Floats) -> Draw:
        """Sample logits Float32[B, n, V] by noise Float32[n, V]."""

    @abstractmethod
    def _judge(self, logits: Floats, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """Judge draft tokens, Int[n], by logits Float32[B, n, V]."""

    def of(self, rows: Tokens) -> Floats:
        """Return [B, n, V]; consecutive rows without a copy."""
        first, count = int(rows[0]), len(rows)
        if int(rows[-1]) - first == count - 1:
            return self.all[:, first : first + count]
        return self.all[:, rows]

    def logits(self) -> Floats:
        """Return all of them."""
        return self.all

    def hidden(self) -> Floats:
        """Return the hidden states."""
        return super().hidden() if self.states is None else self.states

    def last_hidden(self) -> Floats | None:
        """Return a copy of the last row's, where there are any."""
        return None if self.states is None else self.states[:, -1:].copy()

    def draw(self, rows: Tokens, distribution: Distribution, noise: Floats) -> Draw:
        """Sample by given noise."""
        return self._draw(self.of(rows), distribution, noise)

    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise."""
        return self._draw(self.of(rows), distribution, CellNoise(noise, cells, anchor).on_host()).tokens

    def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """Pool the probability around draft tokens."""
        return self._judge(self.of(rows), distribution, draft_tokens, neighbours)


class HostScores(HostLogits):
    """Scores of such logits by a backend's graphs `sampler` and `acceptance`."""

    def __init__(self, backend: Backend, logits: Floats, hidden: Floats | None = None) -> None:
        super().__init__(logits, hidden)
        self.backend = backend

    def last(self) -> "HostScores":
        """Return the last row's."""
        return HostScores(self.backend, self.all[:, -1:].copy(), self.last_hidden())

    def _draw(self, logits: Floats, distribution: Distribution, noise: Floats) -> Draw:
        inputs: Tensors = distribution_inputs(logits, distribution) | {"noise": noise}
        _, count, codes = logits.shape
        tokens, log_probs = run(
            self.backend,
            "sampler",
            inputs,
            tokens=(np.int64, (count,)),
            log_probs=(np.float32, (count, codes)),
        )
        # -1 may stand for a row whose logits are no numbers.
        check_tokens(self.backend, "sampler", "tokens", tokens, codes, least=-1)
        return Draw(tokens, log_probs)

    def _judge(self, logits: Floats, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        inputs = distribution_inputs(logits, distribution)
        inputs |= {"draft_tokens": draft_tokens, "neighbours": neighbours}
        each = (np.float32, (logits.shape[1],))
        return Judgement(*run(self.backend, "acceptance", inputs, pooled_probs=each, entropies=each))


def scorer(backend: Backend) -> Callable[[str, KVCache, Tensors], Scores]:
    """Return what runs a pass and returns its scores: the backend's own way, or by logits that it gives to the host."""
    if backend.traits.scores:
        return backend.score

    def score(graph: str, cache: KVCache, inputs: Tensors) -> HostScores:
        if graph in GRAPHS_WITH_HIDDEN:
            return HostScores(backend, *backend.feed_with_hidden(graph, cache, inputs))
        return HostScores(backend, backend.feed(graph, cache, inputs))

    return score

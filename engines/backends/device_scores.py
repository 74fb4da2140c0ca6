"""The logits of a pass on a device: what is drawn and judged there is written once, here.

Only tokens, log p where it is asked for, and judgements come to the host.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Draw, Floats, Judgement, Scores, Tokens, Wanted
from mulo_sd.engines.backends.cell_noise import CellNoise
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource


def split_by(wanted: Sequence[Wanted], tokens: Tokens) -> list[Tokens]:
    """Return the tokens of each decode, of those of all in turn."""
    return np.split(tokens, np.cumsum([len(one.rows) for one in wanted])[:-1])


class DeviceScores(Scores):
    """Logits on a device, Float32[B, T, V]; a subclass runs the graphs `sampler` and `acceptance` where they lie."""

    @abstractmethod
    def _run(
        self,
        graph: str,
        rows: Tokens,
        distribution: Distribution,
        inputs: Mapping[str, Any],
        outputs: tuple[str, ...],
    ) -> dict[str, NDArray[Any]]:
        """Run a graph, or what computes the same, on rows of the logits; return some of its outputs on the host.

        Args:
            graph: "sampler" or "acceptance".
            rows: Int[n].
            distribution: What p is.
            inputs: Beside logits and distribution. Of the sampler: noise, Float32[n, V], or the `CellNoise` that is to
                be made. Of acceptance: draft_tokens Int[n] and neighbours Int[V, k], which are the same object for all
                of a decode (`DeviceArrays`).
            outputs: The names of those that are wanted, in the graph's own types.
        """

    def draw(self, rows: Tokens, distribution: Distribution, noise: Floats) -> Draw:
        """Sample by given noise."""
        drawn = self._run("sampler", rows, distribution, {"noise": noise}, ("tokens", "log_probs"))
        return Draw(drawn["tokens"], drawn["log_probs"])

    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise."""
        inputs = {"noise": CellNoise(noise, cells, anchor)}
        tokens: Tokens = self._run("sampler", rows, distribution, inputs, ("tokens",))["tokens"]
        return tokens

    def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """Pool the probability around draft tokens."""
        inputs = {"draft_tokens": draft_tokens, "neighbours": neighbours}
        judged = self._run("acceptance", rows, distribution, inputs, ("pooled_probs", "entropies"))
        return Judgement(judged["pooled_probs"], judged["entropies"])

"""Teacher forcing: an engine is fed exactly the passes that the reference made."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import engines
from engines.transformer import TransformerSession
from reference.decode import Condition, Decoded
from reference.trace import Pass


@dataclass(frozen=True)
class ReplayedPass:
    """A pass of the reference and the logits that an engine gives for it, Float32[B, T, V]."""

    number: int
    made: Pass
    engine_logits: NDArray[np.float32]

    @property
    def reference_logits(self) -> NDArray[np.float32]:
        """The reference's, of the same shape."""
        if self.made.logits is None:
            raise ValueError("trace: expected logits, got a trace made without record_logits")
        logits: NDArray[np.float32] = self.made.logits.numpy()
        return logits


def replay(pipeline: engines.Pipeline, decoded: Decoded, condition: Condition, batch: int) -> Iterator[ReplayedPass]:
    """Feed every pass of a reference trace to the engines, model by model, and yield both sides."""
    manifest = pipeline.bundle.manifest
    prefix_ids = np.stack([condition.cond.numpy(), condition.uncond.numpy()])[:batch]
    for model, entry in ((0, manifest.target), (1, manifest.drafter)):
        session = TransformerSession(pipeline.backend, entry, prefix_ids)
        for number, made in enumerate(decoded.trace.passes):
            if made.model != model:
                continue
            tokens: NDArray[np.int64] = made.tokens.numpy()
            if tokens[0] < 0:
                logits = session.prefill()
            else:
                logits = session.feed(made.positions.numpy() - entry.prefix_length, tokens)
            yield ReplayedPass(number, made, logits)

"""What a probe is, and what probes share: passes of one model, and logits that were chosen for a question."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import Scores
from mulo_sd.engines.backends.host_scores import HostScores
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.reference.cache import KVCache as ReferenceCache
from mulo_sd.reference.cache import feed

Floats = NDArray[np.floating[Any]]


class Probe(NamedTuple):
    """A law of an engine that no decode has to show.

    Attributes:
        stage: What of an engine it looks at.
        rules: Those that it speaks for.
        law: Raises AssertionError where the engine breaks them.
        needs: Capabilities without which there is nothing to ask.
    """

    stage: str
    rules: tuple[str, ...]
    law: Callable[[Subject], None]
    needs: frozenset[str] = frozenset()


class Listening(UnscoredBackend):
    """Another backend whose samples and judgements a probe listens to, in `run`."""

    label = "listening"


def scores_of(subject: Subject, logits: NDArray[np.float32]) -> Iterator[tuple[str, Scores]]:
    """Give logits of our own, Float32[B, n, V], to whatever samples and judges in an engine; tell each by name.

    These are its graphs `sampler` and `acceptance`, and scores of its own where it makes them of the host's logits.
    """
    backend = subject.pipeline.backend
    yield "the graphs sampler and acceptance", HostScores(backend, logits)
    if backend.traits.scores_host_logits:
        yield "the scores", backend.scores_of(logits)


class Twin:
    """A model on the engine, and beside it the reference's in float64, fed the same."""

    def __init__(self, subject: Subject, number: int, condition: torch.Tensor) -> None:
        """Prepare both sides.

        Args:
            subject: The engine.
            number: Of the model.
            condition: [B, P, fields or width], the conditional half first.
        """
        pipeline = subject.pipeline
        self.entry = pipeline.bundle.manifest.models[number]
        self.tolerance = pipeline.bundle.manifest.graphs[self.entry.graph].tolerance
        self.session = TransformerSession(pipeline.backend, self.entry, condition.numpy())
        self.model, self.condition = subject.wide(number), condition
        self.cache = ReferenceCache(self.model.config, len(condition), torch.float64)

    @torch.inference_mode()
    def prefill(self) -> tuple[Floats, Floats]:
        """Feed the prefix; return the engine's logits, Float32[B, P, V], and the reference's, Float64."""
        logits = self.session.prefill().logits()
        condition = self.condition.double() if self.condition.is_floating_point() else self.condition
        embeddings = self.model.prefix_embeddings(condition)
        places = torch.arange(self.entry.prefix_length)
        return logits, feed(self.model, self.cache, embeddings, places).numpy()

    @torch.inference_mode()
    def feed(self, cells: Sequence[int], tokens: Sequence[int]) -> tuple[Floats, Floats]:
        """Feed tokens at cells, ascending; return logits as `prefill` does."""
        logits = self.session.feed(np.asarray(cells), np.asarray(tokens)).logits()
        embeddings = self.model.token_embeddings(torch.tensor(tokens))[None].expand(len(self.condition), -1, -1)
        places = torch.tensor(cells) + self.entry.prefix_length
        return logits, feed(self.model, self.cache, embeddings, places).numpy()

    def hold(self, what: str, logits: Floats, expected: Floats) -> None:
        """Assert that logits are the reference's within the bundle's tolerance."""
        assert logits.shape == expected.shape, f"{what}: logits of shape {logits.shape}, expected {expected.shape}"
        off = float(np.abs(logits - expected).max())
        assert off <= self.tolerance, f"{what}: logits are off by {off:.3g}, expected at most {self.tolerance}"


def random_condition_of(subject: Subject, seed: int, guided: bool) -> torch.Tensor:
    """Return a condition of the subject's models whose two halves are both random, [B, P, fields or width]."""
    config = subject.models.target.config
    generator = torch.Generator().manual_seed(seed)
    halves = 2 if guided else 1
    width = subject.pipeline.bundle.manifest.target.condition_width
    if config.condition in ("fields", "class"):
        ids = subject.pipeline.bundle.manifest.target.condition_ids
        return torch.randint(0, ids, (halves, config.prefix_length, width), generator=generator)
    return torch.randn((halves, config.prefix_length, width), generator=generator)

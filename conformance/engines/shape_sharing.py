"""A law of passes that several requests share: each gets what it would get alone."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.cases import PROMPTS, SEED
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.engines.shape_rows import hold_samples, rows_of
from mulo_sd.conformance.engines.shape_tokens import Tokens
from mulo_sd.conformance.engines.shape_walk import Logits, Oracle, guided_batches, within
from mulo_sd.conformance.engines.shapes import (
    MAX_REQUESTS,
    Level,
    Note,
    cells_of,
    request_counts,
    shared_lengths,
    shared_shape,
)
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.wrapped import WrappedBackend
from mulo_sd.engines.passes.decodes_backend import DecodesBackend
from mulo_sd.engines.passes.shared_passes import SharedPasses
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.noise import NoiseSource, sample_stream
from mulo_sd.reference.noise import gumbel_noise

MAX_SECONDS = 120.0
# Cells that every request has fed at least before it shares.
FILLED = 6


def max_shared_tokens(subject: Subject) -> float:
    """Return the tokens of the longest pass that requests share; 0 where the backend shares none."""
    traits = subject.pipeline.backend.traits
    return float(traits.max_shared_tokens) if traits.pools else 0.0


class _Shares(WrappedBackend):
    """A backend whose pools serve every graph, those that would gain nothing on this machine, too."""

    def gains_by_sharing(self, graph: str) -> bool:
        return True


class _Request:
    """One request with one model: conditions, tokens, cells and seed of its own."""

    def __init__(self, subject: Subject, number: int, place: int, batch: int) -> None:
        self.subject, self.place, self.batch, self.number = subject, place, batch, number
        self.entry = subject.pipeline.bundle.manifest.models[number]
        self.tolerance = subject.pipeline.bundle.manifest.graphs[self.entry.graph].tolerance
        self.tokens = Tokens(subject, number, SEED + place)
        self.condition = condition_of(subject.models, PROMPTS[place % len(PROMPTS)], SEED + place)
        self.stream, self.codes = sample_stream(number), self.entry.vocabulary
        self.source = NoiseSource(SEED + place, self.stream, cells_of(self.entry) + 1, self.codes)

    def run(self, shared: SharedPasses, passes: list[int]) -> None:
        """Feed passes of so many tokens, each at cells of its own, after a filling that no other request has."""
        pipeline, model = self.subject.pipeline, self.subject.models.transformer(self.number)
        given, scale = engine_condition(self.condition), float(self.batch)
        null = pipeline.bundle.null_conditions[self.number]
        backend = DecodesBackend(shared, self.place, lambda: None)
        session = TransformerSession(backend, self.entry, given.prefixes(null, scale), given.places())
        oracle = Oracle(model, self.condition.prefixes(model, scale), self.condition.places())
        within(session.prefill().logits(), oracle.prefill(), self.tolerance, f"request {self.place}, the prefill")
        cells, what = cells_of(self.entry), f"request {self.place} at batch {self.batch}"
        # How many, and which of them are written again, is each request's own: no two caches look the same.
        done = min(cells, FILLED + 3 * (5 * self.place % MAX_REQUESTS))
        self._pass(session, oracle, np.arange(done), f"{what}, its first pass of {done}")
        again = np.arange(self.place % 3, done, 2 + self.place % 3)
        self._pass(session, oracle, again, f"{what}, its second pass of {len(again)}")
        for number, fed in enumerate(passes, start=3):
            # In raster order, and at the end of the grid once more from its beginning.
            chosen = np.unique(np.arange(done, done + fed) % cells)
            self._pass(session, oracle, chosen, f"{what}, pass {number} of {fed}")
            done = (done + fed) % cells

    def _pass(self, session: TransformerSession, oracle: Oracle, cells: NDArray[np.int64], what: str) -> None:
        tokens = self.tokens.of(cells)
        scores = session.feed(cells, tokens)
        logits: Logits = scores.logits().copy()
        expected = oracle.feed(cells, tokens)
        self.tokens.saw(cells, expected[0])
        within(logits, expected, self.tolerance, f"{self.entry.graph}, {what} tokens")
        settings = self.subject.pipeline.settings(
            guidance_scale=1.5 if self.batch == 2 else 1.0, temperature=1.0, top_k=0, top_p=1.0
        )
        tokens_drawn = scores.sample(np.arange(len(cells)), cells + 1, settings.distribution, self.source, None)
        noise: NDArray[np.float32] = gumbel_noise(
            SEED + self.place, self.stream, (cells + 1).tolist(), self.codes
        ).numpy()
        hold_samples(rows_of(logits, settings), noise, tokens_drawn, f"{what} tokens, sampled")


def run_together(shared: SharedPasses, work: list[Callable[[], Any]]) -> None:
    """Run decodes, none before all have begun, so that each pass waits for the others'.

    Raises:
        AssertionError: what the first of them found.
    """
    errors: list[BaseException] = []
    ended = threading.Semaphore(0)

    def run(one: Callable[[], Any]) -> None:
        try:
            one()
        except BaseException as error:  # it is raised below, in the test's own thread
            errors.append(error)
        finally:
            ended.release()

    shared.begin(*(partial(run, one) for one in work))
    deadline = time.monotonic() + MAX_SECONDS
    in_time = all(ended.acquire(timeout=max(0.0, deadline - time.monotonic())) for _ in work)
    if in_time:  # else closing would wait for them, too
        shared.close()
    if errors:
        raise errors[0]
    assert in_time, f"requests wait for each other for {MAX_SECONDS:g} s"


def shared_passes_are_right(subject: Subject, level: Level, note: Note) -> None:
    """CONF-5, KV-1, RNG-1: requests that share passes have tokens, masks, write places and noise of their own."""
    most = max_shared_tokens(subject)
    last = guided_batches(subject)[-1]
    for number, entry in enumerate(subject.pipeline.bundle.manifest.models) if most else ():
        lengths = shared_lengths(most, entry)
        for requests in request_counts(level):
            # Without guidance, of one row each, they share passes of their own: of an odd number, since it takes time.
            for batch in sorted({last, 1} if requests % 2 else {last}):
                _share(subject, number, requests, batch, lengths)
            for fed in lengths:
                note(shared_shape(entry.graph, requests, fed))


def _share(subject: Subject, number: int, requests: int, batch: int, lengths: Sequence[int]) -> None:
    """Let so many requests of `batch` rows each make passes of those lengths together."""
    shared = SharedPasses(_Shares(subject.pipeline.backend), requests)
    walks = [_Request(subject, number, index, batch) for index in range(requests)]
    # Of the same length for all, then shorter ones beside: their ends are padded.
    plans = [[*lengths, *(max(1, fed - index % fed) for fed in lengths)] for index in range(requests)]
    run_together(shared, [partial(one.run, shared, plan) for one, plan in zip(walks, plans, strict=True)])
    alone = requests * (3 + 2 * len(lengths))
    assert shared.passes < alone, f"{requests} requests of {batch} rows made {alone} passes, and shared none"

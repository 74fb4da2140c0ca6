"""CONF-6: the same context gives the same logits, however many tokens its passes feed."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.probes.probe import Floats, random_condition_of
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.passes.transformer import TransformerSession

# Tokens a pass; the last is a whole grid.
WIDTHS = (2, 5, 16, 2**20)


def logits_by_width(
    subject: Subject, number: int, width: int, tokens: NDArray[np.int64], guesses: NDArray[np.int64] | None = None
) -> Floats:
    """Return a model's logits of a grid, Float32[B, N, V], by passes of some width.

    Args:
        subject: The engine.
        number: Of the model.
        width: Cells that a pass feeds.
        tokens: Int[N], the grid.
        guesses: Int[N], what a pass before feeds in its place, as a sweep does; None makes no such passes.
    """
    pipeline = subject.pipeline
    condition = random_condition_of(subject, 30 + number, "guidance" in subject.capabilities).numpy()
    session = TransformerSession(pipeline.backend, pipeline.bundle.manifest.models[number], condition)
    session.prefill()
    parts = []
    for start in range(0, len(tokens), width):
        cells = np.arange(start, min(start + width, len(tokens)))
        if guesses is not None:
            session.feed(cells, guesses[cells])
        parts.append(session.feed(cells, tokens[cells]).logits().copy())
    return np.concatenate(parts, axis=1)


def widths_agree(subject: Subject) -> None:
    """CONF-6: logits of the same context from passes of different widths stay within the tolerance, guesses or not."""
    manifest = subject.pipeline.bundle.manifest
    for number, entry in enumerate(manifest.models):
        tolerance = manifest.graphs[entry.graph].tolerance
        rng = np.random.default_rng(40 + number)
        tokens, wrong = rng.integers(0, entry.vocabulary, (2, entry.grid_height * entry.grid_width))
        narrow = logits_by_width(subject, number, 1, tokens)
        for width in WIDTHS:
            for guesses in (None, wrong):
                off = np.abs(logits_by_width(subject, number, width, tokens, guesses) - narrow).max(axis=(0, 2))
                worst = int(off.argmax())
                how = "" if guesses is None else " over wrong guesses"
                assert off[worst] <= tolerance, (
                    f"model {number}, passes of {min(width, len(tokens))} tokens{how}: the logits after cell {worst} "
                    f"are {off[worst]:.3g} away from those of passes of one token, expected at most {tolerance}"
                )

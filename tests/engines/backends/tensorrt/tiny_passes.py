"""Passes of the tiny bundle: a whole decode's, and the sampler's."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.passes.transformer import TransformerSession


def decode_steps(session: TransformerSession, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of a prefill and of passes at scattered cells, enough of them to compact several times."""
    yield session.prefill().logits()
    generator = np.random.default_rng(seed)
    for _ in range(12):
        cells = np.sort(generator.permutation(8)[: generator.integers(1, 9)])
        yield session.feed(cells, generator.integers(0, 12, len(cells))).logits()


def prefix_ids(batch: int) -> NDArray[np.int64]:
    return np.arange(batch * 6).reshape(batch, 2, 3) % 12


def sampler_inputs(rows: int) -> dict[str, NDArray[Any]]:
    logits = np.random.default_rng(rows).standard_normal((rows, 12), dtype=np.float32)
    return {"logits": logits, "temperature": np.array(-2, dtype=np.float32), "shift": np.array(100)}

"""A fake backend whose decodes share passes, and what such a pass takes."""

from typing import Any

import numpy as np

from mulo_sd.engines.backends.base import Tensors, Tokens, Traits
from tests.fakes.noting_backend import NotingBackend


class PoolingBackend(NotingBackend):
    """Its pool is itself, and holds nothing; a subclass answers passes."""

    traits = Traits(scores=True, pools=True)

    def new_pool(self, graph: str, rows: int) -> Any:
        return self

    def rows(self, first_row: int, count: int) -> Any:
        return count

    def clear(self, first_row: int, count: int) -> None:
        return


def inputs_of(tokens: Tokens) -> Tensors:
    """Return the inputs of a pass that feeds tokens, Int[2, T]."""
    return {
        "tokens": tokens,
        "prefix": np.zeros((*tokens.shape, 4), np.float32),
        "positions": np.zeros(tokens.shape, np.int64),
        "slot_ranks": np.zeros((2, 40), np.int64),
        "write_index": np.zeros(2, np.int64),
    }

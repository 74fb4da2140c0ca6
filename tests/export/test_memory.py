"""Garbage collections during a build pass over what stays, and nothing is left of that afterwards."""

import gc
import weakref
from contextlib import suppress

import pytest
import torch
from torch import nn

from mulo_sd.export.memory import WORTH_RELEASING, release, short_collections, weight_bytes


class Cycle:
    """Refers to itself, so that a collection alone frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_made_inside_is_collected() -> None:
    before = gc.get_freeze_count()
    with short_collections():
        assert gc.get_freeze_count() > before
        made = weakref.ref(Cycle())
        gc.collect()
        assert made() is None


def test_what_is_passed_over_is_collected_afterwards() -> None:
    """Also where a build fails."""
    held = Cycle()
    made = weakref.ref(held)
    before = gc.get_freeze_count()
    with suppress(KeyboardInterrupt), short_collections():
        del held
        gc.collect()
        assert made() is not None
        raise KeyboardInterrupt
    assert gc.get_freeze_count() == before
    gc.collect()
    assert made() is None


def test_what_another_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        with short_collections():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(("held", "is_left"), [(WORTH_RELEASING - 1, True), (WORTH_RELEASING, False)])
def test_released_where_it_is_much(held: int, is_left: bool) -> None:
    """Small models' leftovers wait for Python's own collections."""
    gc.disable()
    try:
        made = weakref.ref(Cycle())
        release(held)
        assert (made() is not None) == is_left
    finally:
        gc.enable()


def test_weights_are_parameters_and_buffers() -> None:
    module = nn.Linear(3, 5, dtype=torch.float16)
    module.register_buffer("table", torch.zeros(7, dtype=torch.int64))
    assert weight_bytes(module) == (15 + 5) * 2 + 7 * 8

"""Garbage collections during a build pass over what stays, and nothing is left of that afterwards."""

import gc
import weakref
from contextlib import suppress

from mulo_sd.export.memory import short_collections


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

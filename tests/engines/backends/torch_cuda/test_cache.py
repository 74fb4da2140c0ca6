"""Keys and values of the backend in torch: rows, slots, and memory that is used again."""

import gc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.backends.torch_cuda.cache import BUCKETS, MAX_PADDING, bucket
from tests.engines.backends.torch_cuda.small_decodes import (
    CODES,
    FAMILIES,
    Small,
    pass_inputs,
    set_padding,
)


@pytest.mark.parametrize("pads", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_one_pass_are_separate_passes(small: Callable[[str], Small], family: str, pads: bool) -> None:
    """Four rows with other tokens, positions and slots: the same logits, keys and values as one by one."""
    made, slots = small(family), 18
    backend = TorchBackend(made.models, slots={"target": slots})
    set_padding(backend, pads)
    generator = torch.Generator().manual_seed(6)
    together, alone = backend.new_cache("target", 4), [backend.new_cache("target", 1) for _ in range(4)]
    for name in ("keys", "values"):
        filled = torch.randn(getattr(together.storage, name).shape, generator=generator)
        getattr(together.storage, name).copy_(filled)
        for row in range(4):
            getattr(alone[row].storage, name).copy_(filled[:, row : row + 1])
    rows = [pass_inputs(made.models.target, slots, row, 3, start) for row, start in enumerate((4, 9, 0, 15))]
    joint = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    found = backend.feed("target", together, joint)
    for row in range(4):
        expected = backend.feed("target", alone[row], rows[row])
        np.testing.assert_allclose(found[row : row + 1], expected, atol=1e-5)
        kept = int(rows[row]["write_index"][0]) + 3
        for name in ("keys", "values"):
            ours, theirs = getattr(together.storage, name)[:, row], getattr(alone[row].storage, name)[:, 0]
            torch.testing.assert_close(ours[:, :, :kept], theirs[:, :, :kept], atol=1e-5, rtol=0)
    part = backend.score("target", together, joint).part(1, 2, 2)
    assert part.logits().shape == (2, 2, CODES)


def test_slots_are_kept_in_order(small: Callable[[str], Small]) -> None:
    backend = TorchBackend(small("demo").models)
    cache = backend.new_cache("target", 2)
    cache.storage.keys.copy_(torch.arange(cache.storage.capacity)[:, None].expand_as(cache.storage.keys))
    backend.keep_slots("target", cache, np.array([0, 2, 3, 9]))
    assert cache.storage.keys[1, 1, 1, :5, 0].tolist() == [0, 2, 3, 9, 4]


def test_memory_is_used_again_and_is_empty(small: Callable[[str], Small]) -> None:
    """A cache that is dropped leaves its memory, zeroed, to the next; two in use share none."""
    backend = TorchBackend(small("demo").models)
    first, second = backend.new_cache("target", 2), backend.new_cache("target", 2)
    assert first.storage is not second.storage
    first.storage.keys.fill_(torch.nan)
    storage = first.storage
    del first
    gc.collect()
    again = backend.new_cache("target", 2)
    assert again.storage is storage
    assert not again.storage.keys.any()


def test_slots_that_were_sent_before_are_dead_again(small: Callable[[str], Small]) -> None:
    """A cache's memory serves the next one, whose passes begin at slot 0 again."""
    made = small("demo")
    storage = made.ours.new_cache("target", 1).storage
    for start in (12, 3):
        inputs = pass_inputs(made.models.target, storage.slots, 0, 2, start)
        storage.send(inputs, 3)
        found = storage.views(3)
        expected = np.minimum(inputs["slot_ranks"], np.iinfo(np.int32).max)
        assert found.slot_ranks[:, : storage.slots].tolist() == expected.tolist()
        assert found.positions.tolist() == [[6, 7, 7]]
        assert found.write_index.tolist() == [start]


def test_few_lengths_are_captured() -> None:
    assert [bucket(count) for count in (1, 5, 128, 129, 4096)] == [1, 6, 128, 192, 4096]
    assert all(0 <= bucket(count) - count < MAX_PADDING for count in range(1, 1000))
    assert tuple(sorted(BUCKETS)) == BUCKETS

"""Keys and values of the backend in torch: rows, slots, and memory that is used again."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.backends.torch_cuda.cache import BUCKETS, MAX_PADDING, MAX_RANGES, bucket
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


def test_ranges_of_a_pool_that_were_used_lately_keep_their_memory(small: Callable[[str], Small]) -> None:
    """All are over the same keys and values; those of long ago are forgotten."""
    pool = small("demo").ours.new_pool("target", 64)
    ranges = [(first, 2) for first in range(MAX_RANGES + 4)]
    caches = [pool.rows(*one) for one in ranges]
    assert pool.rows(*ranges[-1]).storage is caches[-1].storage
    assert pool.rows(*ranges[4]).storage is caches[4].storage
    assert len(pool.ranges) == MAX_RANGES
    again = pool.rows(*ranges[0])  # in place of number 5, since 4 was asked for again
    assert again.storage is not caches[0].storage
    again.storage.keys.fill_(3.0)
    assert bool((caches[0].storage.keys == 3.0).all())
    assert ranges[4] in pool.ranges
    assert ranges[5] not in pool.ranges


class _Graph:
    """A CUDA graph that cannot be made: it fails where it is told to."""

    def __init__(self, fails: str, calls: list[str]) -> None:
        self.fails, self.calls = fails, calls

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails:
            raise RuntimeError(f"CUDA error at {name}")

    def capture_begin(self, **given: object) -> None:
        self._call("begin")

    def capture_end(self) -> None:
        self._call("end")


@pytest.mark.parametrize("fails", ["begin", "pass", "end"])
def test_a_pass_that_cannot_be_captured_is_made_without(
    small: Callable[[str], Small], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Whichever call of the capture says so; a note tells it, and later passes are not captured."""
    made, calls = small("demo"), list[str]()
    backend = TorchBackend(made.models)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: _Graph(fails, calls))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    runner, cache = backend.runners["target"], backend.new_cache("target", 1)
    compute = runner._compute

    def watched(*given: Any) -> torch.Tensor:
        if calls == ["begin"] and fails != "begin":
            calls.append("pass")
            if fails == "pass":
                raise RuntimeError("CUDA error at pass")
        return compute(*given)

    monkeypatch.setattr(runner, "_compute", watched)
    runner.uses_graphs = True
    inputs = pass_inputs(made.models.target, cache.storage.slots, 0, 2, 3)
    first, second, third = (backend.feed("target", cache, inputs) for _ in range(3))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert calls == {"begin": ["begin"], "pass": ["begin", "pass", "end"], "end": ["begin", "pass", "end"]}[fails]
    assert not runner.uses_graphs
    assert list(backend.notes) == [f"no CUDA graphs: a pass could not be captured: CUDA error at {fails}"]


def test_few_lengths_are_captured() -> None:
    assert [bucket(count) for count in (1, 5, 128, 129, 4096)] == [1, 6, 128, 192, 4096]
    assert all(0 <= bucket(count) - count < MAX_PADDING for count in range(1, 1000))
    assert tuple(sorted(BUCKETS)) == BUCKETS

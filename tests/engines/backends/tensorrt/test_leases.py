"""Buffers are lent again, none that is too small, whenever and wherever others return."""

import gc
from collections.abc import Callable
from typing import Any, cast

import pytest

from mulo_sd.engines.backends.tensorrt import leases as module
from mulo_sd.engines.backends.tensorrt.cuda import aligned
from mulo_sd.engines.backends.tensorrt.leases import MAX_FREE, Lease, Leases


class _Buffer:
    """A buffer at whose sight something else may happen, as in another thread."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, cuda: Any, size_bytes: int, purpose: str) -> None:
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        type(self).meanwhile()
        return self._size_bytes


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Leases:
    monkeypatch.setattr(module, "DeviceBuffer", _Buffer)
    return Leases(cast(Any, None), "logits")


def buffer_of(lease: Lease) -> _Buffer:
    return cast(_Buffer, lease.buffer)


def test_the_last_one_returned_is_lent_first(leases: Leases) -> None:
    held = [leases.take(size) for size in (1000, 2000, 3000)]
    buffers = [buffer_of(lease) for lease in held]
    assert [buffer.size_bytes for buffer in buffers] == [aligned(size) for size in (1000, 2000, 3000)]
    held.pop(0)
    held.pop(1)
    assert buffer_of(leases.take(900)) is buffers[2]  # given back at once
    held.append(leases.take(1900))
    assert buffer_of(held[-1]) is buffers[2]
    assert buffer_of(leases.take(900)) is buffers[0]
    assert buffer_of(leases.take(1900)) not in buffers


@pytest.mark.parametrize("returned", range(5))
def test_a_buffer_that_returns_while_another_is_looked_for(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, returned: int
) -> None:
    """However many do, and whichever is looked at: what is lent is large enough, and nobody else's."""
    for look in range(4):
        held = [leases.take(size) for size in (256, 100_000, 512, 768, 65_536, 256, 1024, 256, 2048)]
        del held[:4]
        looks = iter(range(10**6))

        def meanwhile() -> None:
            if next(looks) == look:  # noqa: B023  # called in this round alone
                del held[: min(returned, len(held) - 1)]  # noqa: B023

        monkeypatch.setattr(_Buffer, "meanwhile", meanwhile)
        lent = leases.take(90_000)
        monkeypatch.undo()
        monkeypatch.setattr(module, "DeviceBuffer", _Buffer)
        assert buffer_of(lent).size_bytes >= 90_000
        assert all(one.buffer is not lent.buffer for one in held)


def test_few_buffers_wait(leases: Leases) -> None:
    held = [leases.take(size) for size in range(1, 40)]
    held.clear()
    gc.collect()
    assert len(leases.free) + len(leases.returned) <= MAX_FREE
    leases.take(5000)
    assert len(leases.free) + len(leases.returned) <= MAX_FREE + 1

"""Whoever works on a device is alone there, and a device that has failed keeps nobody waiting."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda.work import DeviceWork


def working() -> DeviceWork:
    """Return work on the CPU that has a stream as on a GPU."""
    work = DeviceWork(torch.device("cpu"))
    work.stream = object()  # type: ignore[assignment]  # handed to torch.cuda.stream alone
    return work


def is_free(work: DeviceWork) -> bool:
    """Whether another thread can take the lock."""
    taken = list[bool]()

    def take() -> None:
        taken.append(work.lock.acquire(timeout=1))
        if taken[0]:
            work.lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]


def test_a_stream_that_cannot_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the GPU is told to everybody who asks, and gradients are as they were."""

    def broken(stream: Any) -> AbstractContextManager[None]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "stream", broken)
    work = working()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="illegal memory access"), work.alone():
            raise AssertionError
        assert not torch.is_inference_mode_enabled()
        assert is_free(work)


def test_a_stream_that_cannot_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def breaking(stream: Any) -> Iterator[None]:
        yield
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch.cuda, "stream", breaking)
    work = working()

    def use() -> None:
        with work.alone(), work.alone():
            assert torch.is_inference_mode_enabled()
            assert not is_free(work)

    with pytest.raises(RuntimeError, match="CUDA error"):
        use()
    assert not torch.is_inference_mode_enabled()
    assert is_free(work)

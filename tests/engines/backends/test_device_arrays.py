"""Copies on a device: one an array and change, those that were used last."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.device_arrays import DeviceArrays


class Device:
    """Notes what is copied to it."""

    def __init__(self) -> None:
        self.copied: list[int] = []

    def upload(self, array: NDArray[Any]) -> list[int]:
        self.copied.append(int(array[0]))
        copy: list[int] = array.tolist()
        return copy


def doubled(copy: list[int]) -> list[int]:
    return [2 * value for value in copy]


def test_an_array_is_copied_once() -> None:
    device = Device()
    arrays = DeviceArrays(device.upload)
    table = np.array([1, 2])
    assert arrays.of(table) is arrays.of(table)
    assert arrays.of(table, doubled) == [2, 4]
    assert arrays.of(table, doubled) is arrays.of(table, doubled)
    assert arrays.of(table) == [1, 2]
    assert device.copied == [1, 1]


def test_those_used_last_are_kept() -> None:
    device = Device()
    arrays = DeviceArrays(device.upload, max_arrays=2)
    first, second, third = (np.array([number]) for number in range(3))
    for table in (first, second, first, third, first, second):
        assert arrays.of(table) == table.tolist()
    assert device.copied == [0, 1, 2, 1]


def test_no_array_is_taken_for_another_that_is_gone() -> None:
    """Memory, and with it the id, of an array that nobody holds is used again at once."""
    arrays = DeviceArrays(Device().upload)
    for number in range(100):
        assert arrays.of(np.array([number])) == [number]

"""Copies on a device of arrays that come again and do not change: tables of neighbours, code vectors."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

MAX_ARRAYS = 8
Copy = TypeVar("Copy")


class DeviceArrays(Generic[Copy]):
    """The copies, of which those that were used last are kept."""

    def __init__(self, upload: Callable[[NDArray[Any]], Copy], max_arrays: int = MAX_ARRAYS) -> None:
        """Prepare.

        Args:
            upload: Copies an array of any layout to the device; the copy frees its memory with itself.
            max_arrays: How many copies are kept.
        """
        self.upload, self.max_arrays = upload, max_arrays
        # With the array itself: while it is held, no other has its id.
        self.held: OrderedDict[tuple[int, object], tuple[NDArray[Any], Copy]] = OrderedDict()

    def of(self, array: NDArray[Any], change: Callable[[Copy], Copy] | None = None) -> Copy:
        """Return an array's copy, or what a change makes of it, once.

        Args:
            array: The same object each time.
            change: A function of the module's, the same object each time; None leaves the copy as it is.
        """
        key = id(array), change
        if key not in self.held:
            copy = self.upload(array)
            self.held[key] = array, copy if change is None else change(copy)
            if len(self.held) > self.max_arrays:
                self.held.popitem(last=False)
        self.held.move_to_end(key)
        return self.held[key][1]

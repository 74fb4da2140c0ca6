"""What is kept for a while: by bytes and by age, the oldest goes first."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedStore(Generic[Key, Value]):
    """Values by key, no more bytes of them than it may hold, none older than it may be."""

    def __init__(self, max_bytes: int, max_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it empty.

        Args:
            max_bytes: Of all values together; 0 keeps nothing.
            max_seconds: How long a value is kept.
            clock: Tells the time, in seconds.
        """
        self.max_bytes, self.max_seconds, self.clock = max_bytes, max_seconds, clock
        self.size_bytes = 0
        self._entries: OrderedDict[Key, tuple[float, int, Value]] = OrderedDict()

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._entries)

    def put(self, key: Key, value: Value, size_bytes: int) -> bool:
        """Keep a value; return whether it fits at all."""
        self.drop(key)
        if size_bytes > self.max_bytes:
            return False
        self._entries[key] = (self.clock() + self.max_seconds, size_bytes, value)
        self.size_bytes += size_bytes
        self._forget()
        return True

    def get(self, key: Key) -> Value | None:
        """Return a value, or None where there is none any more."""
        self._forget()
        entry = self._entries.get(key)
        return None if entry is None else entry[2]

    def drop(self, key: Key) -> None:
        """Forget a value."""
        entry = self._entries.pop(key, None)
        self.size_bytes -= 0 if entry is None else entry[1]

    def _forget(self) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        now = self.clock()
        while self._entries:
            key, (ends_at, size_bytes, _) = next(iter(self._entries.items()))
            if ends_at > now and self.size_bytes <= self.max_bytes:
                return
            del self._entries[key]
            self.size_bytes -= size_bytes

"""A memory of what was used last, bounded in bytes. Knows nothing of what it holds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Lru"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """Values by key; those that were not used for the longest time give way. Any thread may use it.

    Args:
        max_bytes: What all values may take together, as their owners tell it. A larger value is not kept at all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def bytes(self) -> int:
        """What the values take; never more than the bound."""
        return self._bytes

    def get(self, key: Key) -> Value | None:
        """Return the value of `key`, which counts as a use; None when it is not there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep `value`, which takes `size` bytes, in place of what `key` had."""
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._bytes -= before
            if size > self._max_bytes:
                return
            self._values[key] = (value, size)
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, freed) = self._values.popitem(last=False)
                self._bytes -= freed

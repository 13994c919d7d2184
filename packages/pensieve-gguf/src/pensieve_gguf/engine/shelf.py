"""Prefixes that left the KV cache, in RAM: their states, under a hard cap in bytes.

A prefix on the shelf costs no decode anything (attention looks at every cell in use, masked or not), survives the lack
of cells, and comes back at the speed of memory: some 20,000 times faster than it was computed. Pure bookkeeping: a
state is opaque here, `llama.Context` makes and takes it. Owned by the engine thread.
"""

from __future__ import annotations

from array import array
from typing import TypeAlias

import attrs
import numpy as np

from pensieve_gguf.engine.tree import common_prefix

__all__ = ["Shelf", "Shelved"]

_State: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint8]]


@attrs.define(kw_only=True, eq=False)
class Shelved:
    """The state of a sequence after exactly `tokens`."""

    tokens: array[int]
    state: _State
    used_at: float
    """Seconds on the engine's clock."""


class Shelf:
    """States by the tokens that led to them.

    Args:
        cap_bytes: All states together are never larger.
        forgets_partially: Whether a state that was loaded can be cut back. If not, it is of use as a whole only.
    """

    def __init__(self, cap_bytes: int, *, forgets_partially: bool = True) -> None:
        self._cap_bytes = cap_bytes
        self._forgets_partially = forgets_partially
        self._shelved: list[Shelved] = []

    def __len__(self) -> int:
        return len(self._shelved)

    @property
    def bytes_used(self) -> int:
        """Size of all states."""
        return sum(len(shelved.state) for shelved in self._shelved)

    def best(self, prompt: array[int]) -> tuple[Shelved | None, int]:
        """Return what holds the longest prefix of `prompt`, and its length; one token is always left to compute."""
        lengths = [self._usable(shelved, prompt) for shelved in self._shelved]
        length = max(lengths, default=0)
        return (self._shelved[lengths.index(length)], length) if length else (None, 0)

    def covers(self, tokens: array[int]) -> bool:
        """Tell whether a state here gives back all of `tokens`."""
        whole = [one.tokens for one in self._shelved if _extends(one.tokens, tokens)]
        return bool(whole) if self._forgets_partially else any(len(held) == len(tokens) for held in whole)

    def make_room(self, size: int) -> bool:
        """Forget what was not used for longest until `size` bytes fit. False: they never will; nothing is forgotten."""
        if size > self._cap_bytes:
            return False
        while self.bytes_used + size > self._cap_bytes:
            self._shelved.remove(min(self._shelved, key=lambda shelved: shelved.used_at))
        return True

    def put(self, shelved: Shelved) -> None:
        """Keep a state for which there is room; shorter ones of the same prefix are forgotten."""
        self._shelved = [old for old in self._shelved if not _extends(shelved.tokens, old.tokens)]
        self._shelved.append(shelved)

    def discard(self, shelved: Shelved) -> None:
        """Forget a state that turned out to be of no use."""
        self._shelved = [other for other in self._shelved if other is not shelved]

    def _usable(self, shelved: Shelved, prompt: array[int]) -> int:
        length = min(common_prefix(shelved.tokens, prompt), len(prompt) - 1)
        return length if self._forgets_partially or length == len(shelved.tokens) else 0


def _extends(tokens: array[int], prefix: array[int]) -> bool:
    return common_prefix(tokens, prefix) == len(prefix)

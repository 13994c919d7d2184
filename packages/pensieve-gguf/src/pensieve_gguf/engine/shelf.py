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

from pensieve_gguf.engine.checkpoints import Checkpoint, Checkpoints
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
    start: int = 0
    """The state lacks the cells of so many tokens: it is of use where those are in the cache."""


class Shelf:
    """States by the tokens that led to them.

    Args:
        cap_bytes: All states together are never larger.
        forgets_partially: Whether a state that was loaded can be cut back. If not, it is of use as a whole, and as far
            as to one of its checkpoints.
        checkpoints: Under the same cap; mutated here only. None: what cannot be cut back is all of a state, and so a
            checkpoint is a state as any.
    """

    def __init__(
        self, cap_bytes: int, *, forgets_partially: bool = True, checkpoints: Checkpoints | None = None
    ) -> None:
        self._cap_bytes = cap_bytes
        self._forgets_partially = forgets_partially
        self._checkpoints = checkpoints
        self._shelved: list[Shelved] = []

    def __len__(self) -> int:
        return len(self._shelved)

    @property
    def bytes_used(self) -> int:
        """Size of all states and checkpoints."""
        kept = 0 if self._checkpoints is None else self._checkpoints.bytes_used
        return kept + sum(len(shelved.state) for shelved in self._shelved)

    def best(self, prompt: array[int], there: int = 0) -> tuple[Shelved | None, int]:
        """Return what gives back the longest prefix of `prompt`, and its length; one token is always left to compute.

        `there`: so many tokens of `prompt` are in the cache, and the end of a prefix can be put behind them.
        """
        lengths = [self._usable(shelved, prompt, there) for shelved in self._shelved]
        length = max(lengths, default=0)
        return (self._shelved[lengths.index(length)], length) if length else (None, 0)

    def covers(self, tokens: array[int]) -> bool:
        """Tell whether a state here gives back all of `tokens`."""
        whole = [one.tokens for one in self._shelved if not one.start and _extends(one.tokens, tokens)]
        return bool(whole) if self._forgets_partially else any(len(held) == len(tokens) for held in whole)

    def make_room(self, size: int) -> bool:
        """Forget what was not used for longest until `size` bytes fit. False: they never will; nothing is forgotten."""
        if size > self._cap_bytes:
            return False
        while self.bytes_used + size > self._cap_bytes:
            self._forget_oldest()
        return True

    def put(self, shelved: Shelved) -> None:
        """Keep a state for which there is room; shorter ones of the same prefix go, if it gives them back."""
        self._shelved = [old for old in self._shelved if not self._replaces(shelved, old)]
        self._shelved.append(shelved)

    def keep(self, tokens: array[int], state: _State, now: float) -> None:
        """Keep a checkpoint for which there is room."""
        if self._checkpoints is None:
            self.put(Shelved(tokens=tokens, state=state, used_at=now))
        else:
            self._checkpoints.put(Checkpoint(tokens=tokens, state=state, used_at=now))

    def checkpoint(self, prompt: array[int], limit: int) -> Checkpoint | None:
        """Return the longest checkpoint of what `prompt` begins with, of `limit` tokens at most."""
        return None if self._checkpoints is None else self._checkpoints.longest(prompt, limit)

    def whole(self, tokens: array[int]) -> _State | None:
        """Return the state after exactly `tokens`. None: it is not here."""
        return next((one.state for one in self._shelved if one.tokens == tokens and not one.start), None)

    def way_back(self, tokens: array[int]) -> int:
        """Return how long the longest prefix of `tokens` is that a slot holding more can be taken back to."""
        if self._forgets_partially:
            return len(tokens)
        if self._checkpoints is None:
            return max((len(one.tokens) for one in self._shelved if _extends(tokens, one.tokens)), default=0)
        checkpoint = self._checkpoints.longest(tokens, len(tokens))
        return 0 if checkpoint is None else checkpoint.length

    def discard(self, of_no_use: Shelved | Checkpoint) -> None:
        """Forget a state or a checkpoint that turned out to be of no use."""
        self._shelved = [other for other in self._shelved if other is not of_no_use]
        if self._checkpoints is not None and isinstance(of_no_use, Checkpoint):
            self._checkpoints.discard(of_no_use)

    def clear(self) -> None:
        """Forget everything."""
        self._shelved = []
        while self._checkpoints is not None and self._checkpoints.oldest is not None:
            self._checkpoints.discard(self._checkpoints.oldest)

    def _usable(self, shelved: Shelved, prompt: array[int], there: int) -> int:
        if shelved.start > there:
            return 0
        length = min(common_prefix(shelved.tokens, prompt), len(prompt) - 1)
        if self._forgets_partially or length == len(shelved.tokens):
            return length
        checkpoint = self.checkpoint(prompt, length)
        return 0 if checkpoint is None else checkpoint.length

    def _replaces(self, shelved: Shelved, old: Shelved) -> bool:
        gives_back = self._forgets_partially or self._checkpoints is not None or len(old.tokens) == len(shelved.tokens)
        return gives_back and shelved.start <= old.start and _extends(shelved.tokens, old.tokens)

    def _forget_oldest(self) -> None:
        kept: list[Shelved | Checkpoint] = [*self._shelved]
        if self._checkpoints is not None and self._checkpoints.oldest is not None:
            kept.append(self._checkpoints.oldest)
        self.discard(min(kept, key=lambda one: one.used_at))


def _extends(tokens: array[int], prefix: array[int]) -> bool:
    return common_prefix(tokens, prefix) == len(prefix)

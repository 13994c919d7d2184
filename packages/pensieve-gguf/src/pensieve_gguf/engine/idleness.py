"""Beside how many steps each slot has stood since it was last used. Counting, and nothing else.

Above: the residents, who know which slots are idle, and what to do with one that has been idle for long.
"""

from __future__ import annotations

__all__ = ["Idleness"]

_LOOK_EVERY = 8


class Idleness:
    """Steps since each slot was used."""

    def __init__(self) -> None:
        self._steps = 0
        self._look_at = 0
        """The step at which to look again for what is stale."""
        self._since: dict[int, int] = {}

    def note_steps(self, steps: int) -> None:
        """Note that so many steps of answers were computed beside whatever is idle, or prompts that cost as much."""
        self._steps += steps

    def use(self, slot: int) -> None:
        """Let `slot` count as used now."""
        self._since[slot] = self._steps

    def beside(self, slot: int) -> int:
        """Return how many steps were computed since `slot` was used."""
        return self._steps - self._since[slot]

    def look(self) -> bool:
        """Return whether it is time to look for what is stale: now and then only."""
        if self._steps < self._look_at:
            return False
        self._look_at = self._steps + _LOOK_EVERY
        return True

    def forget(self, slot: int) -> None:
        """Forget a slot that holds nothing any more."""
        self._since.pop(slot, None)

    def clear(self) -> None:
        """Forget all slots."""
        self._since.clear()

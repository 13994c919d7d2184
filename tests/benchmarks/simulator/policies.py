"""What is kept: ours, and what others do, behind the interface that the scheduler knows."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Hashable, Iterable
from typing import assert_never

from pensieve_core import Priority
from pensieve_gguf.engine.moves import Elsewhere, Evict, Placement
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.tree import Run, Use, common_prefix
from pensieve_gguf.engine.worth import Worth

__all__ = ["Impatient", "LruSlots", "LruTree", "Policy", "residents_of"]


class Policy(enum.StrEnum):
    """A way to use the cells."""

    WORTH = "worth"
    """Ours: the prefix tree, and what is worth least goes first."""
    LRU_TREE = "lru-tree"
    """The same tree, and what was not used for longest goes first."""
    LRU_SLOTS_4 = "lru-slots-4"
    """As llama-server by default: four slots, reused and evicted whole, and a busy one shares nothing."""
    LRU_SLOTS_16 = "lru-slots-16"


def residents_of(policy: Policy, *, slots: int, cells: int, worth: Worth | None = None) -> Residents:
    """Return the bookkeeping of `policy` over `cells`; those with slots of their own take no notice of `slots`."""
    match policy:
        case Policy.WORTH:
            return Residents(slots, cells=cells, worth=worth)
        case Policy.LRU_TREE:
            return LruTree(slots, cells=cells, worth=_last_use)
        case Policy.LRU_SLOTS_4:
            return LruSlots(4, cells=cells)
        case Policy.LRU_SLOTS_16:
            return LruSlots(16, cells=cells)
        case _:
            assert_never(policy)


def _last_use(run: Run, now: float) -> float:
    return run.use.at


class LruTree(Residents):
    """The tree with plain LRU, of cells and of slots."""

    def _worth_of_all(self, slot: int) -> tuple[bool, float]:
        return True, self._tree.last(slot).use.at


class Impatient(Scheduler):
    """Lets nobody wait for a prefix that a sibling is computing: where slots share nothing it would be in vain."""

    def _is_being_computed(self, sequence: Sequence, elsewhere: int) -> bool:
        return False


class LruSlots(Residents):
    """Slots as `llama-server` keeps them, with a unified cache and without its copies in RAM.

    A prompt takes the idle slot that begins most alike, if that is at least a tenth of the prompt, else the one that
    was idle longest; what does not fit is cut off. When cells run out, the slot idle longest is cleared, whole.
    """

    _ALIKE = 0.1

    def longest_prefix(self, prompt: array[int]) -> int:
        return max((self._alike(slot, prompt) for slot in self._idle_slots()), default=0)

    def place(
        self,
        prompt: array[int],
        now: float,
        *,
        priority: Priority = Priority.MAIN,
        conversation: Hashable = None,
        marks: Iterable[int] = (),
        elsewhere: Elsewhere | None = None,
        claimed: int | None = None,
    ) -> Placement | None:
        slot = self._choose(prompt)
        if slot is None:
            return None
        reused = self._alike(slot, prompt) if slot in self._tree else 0
        if claimed is not None and self._lacking(claimed + len(prompt) - reused) > self._reclaimable(slot, reused):
            return None
        moves = (self._evict(slot, reused),) if slot in self._tree and reused < self._tree.length(slot) else ()
        if reused == 0:
            self._free.remove(slot)
        self._busy.add(slot)
        self._tree.hold(slot, prompt, Use(at=now, priority=priority))
        self._marks[slot] = []
        return Placement(slot=slot, reused=reused, moves=moves)

    def evict(self, cells: int = 1) -> Evict | None:
        oldest = self._oldest()
        return None if oldest is None else self._evict(oldest, 0)

    def _choose(self, prompt: array[int]) -> int | None:
        alike = {slot: self._alike(slot, prompt) for slot in self._idle_slots()}
        best = max(alike, key=lambda slot: alike[slot], default=None)
        if best is not None and alike[best] > self._ALIKE * len(prompt):
            return best
        return self._free[-1] if self._free else self._oldest()

    def _oldest(self) -> int | None:
        return min(self._idle_slots(), key=lambda slot: self._tree.last(slot).use.at, default=None)

    def _alike(self, slot: int, prompt: array[int]) -> int:
        return common_prefix(self._tree.tokens(slot), prompt, 0, min(self._tree.length(slot), len(prompt) - 1))

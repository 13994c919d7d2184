"""Who holds which tokens in the KV cache, and where a new prompt is placed. Pure bookkeeping.

A *slot* is a llama.cpp sequence id. It is free, busy (a sequence runs in it) or idle (its sequence is done, and its
cells stay for the next prompt that begins alike). Cells may belong to several slots: sharing a prefix
costs nothing (`llama_memory_seq_cp` with a unified cache).

Above: the scheduler. The moves that it returns are carried out by the engine loop before the next decode.
"""

from __future__ import annotations

from array import array

import attrs
import numpy as np

__all__ = ["Cut", "Idle", "Placement", "Residents", "Share", "common_prefix"]


@attrs.frozen
class Cut:
    """Forget what `slot` holds from `length` on."""

    slot: int
    length: int


@attrs.frozen
class Share:
    """Let `target` hold the first `length` cells of `source`, too."""

    source: int
    target: int
    length: int


@attrs.frozen
class Idle:
    """What a slot holds that nobody is using."""

    slot: int
    tokens: array[int]
    """Computed, all of them."""


@attrs.frozen(kw_only=True)
class Placement:
    """Where a prompt goes, and how much of it is already there."""

    slot: int
    reused: int
    moves: tuple[Cut | Share, ...]
    restores: bool = False
    """The first `reused` tokens are to be loaded from elsewhere before the slot is used."""


@attrs.define(kw_only=True, eq=False)
class _Resident:
    slot: int
    tokens: array[int]
    computed: int
    busy: bool
    used_at: float
    idle_since_step: int = 0


class Residents:
    """The slots of one context.

    Args:
        slots: How many sequence ids there are.
        forgets_partially: Whether a slot can be cut back to any length. Recurrent states cannot: they are reused
            whole or not at all.
    """

    def __init__(self, slots: int, *, forgets_partially: bool = True) -> None:
        self._free = list(range(slots - 1, -1, -1))
        self._residents: dict[int, _Resident] = {}
        self._forgets_partially = forgets_partially
        self._steps = 0

    @property
    def idle(self) -> int:
        """How many slots could be evicted."""
        return sum(not resident.busy for resident in self._residents.values())

    @property
    def slots_in_use(self) -> int:
        """Busy and idle ones."""
        return len(self._residents)

    def longest_prefix(self, prompt: array[int]) -> int:
        """Return how many tokens of `prompt` are computed somewhere; at least one is always left to compute."""
        return max((self._usable(resident, prompt) for resident in self._residents.values()), default=0)

    def place(self, prompt: array[int], now: float, elsewhere: int = 0) -> Placement | None:
        """Find a slot for `prompt`, with the longest known prefix. None: all slots are busy.

        The slot is busy afterwards; `prompt` stays shared with the caller, who appends to it.

        Args:
            prompt: Token ids.
            now: Seconds on the engine's clock.
            elsewhere: So many of its tokens could be loaded into an empty slot, if that is more than is known here.
        """
        best, reused = self._best(prompt)
        if elsewhere > reused:
            return self._restore(prompt, now, elsewhere)
        if best is not None and not best.busy and reused == best.computed:
            return self._continue(best, prompt, now)
        slot, moves = self._vacate(keep=best)
        if slot is None:
            if best is None or best.busy:
                return None
            return self._continue(best, prompt, now, reused)
        shares: tuple[Share, ...] = ()
        if best is not None and reused:
            shares = (Share(best.slot, slot, reused),)
            self.touch(best.slot, now)
        self._occupy(slot, prompt, reused, now)
        return Placement(slot=slot, reused=reused, moves=(*moves, *shares))

    def note_step(self) -> None:
        """Note that somebody's answer grew by a step, beside whatever is idle."""
        self._steps += 1

    def stale(self, steps: int) -> Idle | None:
        """Return what has been idle for so many steps, the oldest first."""
        oldest = self._oldest_idle(keep=None)
        if oldest is None or self._steps - oldest.idle_since_step < steps:
            return None
        return Idle(oldest.slot, oldest.tokens[: oldest.computed])

    def touch(self, slot: int, now: float) -> None:
        """Let an idle `slot` count as used now."""
        self._residents[slot].used_at = now
        self._residents[slot].idle_since_step = self._steps

    def advance(self, slot: int, computed: int) -> None:
        """Note that the first `computed` tokens of the busy `slot` are in the cache."""
        self._residents[slot].computed = computed

    def release(self, slot: int, now: float) -> None:
        """Make `slot` idle: its tokens stay, as far as they are computed."""
        resident = self._residents[slot]
        resident.busy = False
        self.touch(slot, now)
        if resident.computed == 0:
            self._forget(slot)

    def drop(self, slot: int) -> Cut:
        """Forget all that `slot` holds."""
        self._forget(slot)
        return Cut(slot, 0)

    def evict(self) -> Idle | None:
        """Forget the slot that has been idle longest; return what it held. None: there is none."""
        victim = self.stale(0)
        if victim is not None:
            self._forget(victim.slot)
        return victim

    def _best(self, prompt: array[int]) -> tuple[_Resident | None, int]:
        scored = [(self._usable(resident, prompt), resident) for resident in self._residents.values()]
        useful = [pair for pair in scored if pair[0] > 0]
        if not useful:
            return None, 0
        # Of equally long prefixes take one that can be continued in place, then the most recent.
        reused, best = max(useful, key=lambda pair: (pair[0], not pair[1].busy, -pair[1].computed, pair[1].used_at))
        return best, reused

    def _usable(self, resident: _Resident, prompt: array[int]) -> int:
        length = min(common_prefix(resident.tokens, prompt), resident.computed, len(prompt) - 1)
        return length if self._forgets_partially or length == resident.computed else 0

    def _restore(self, prompt: array[int], now: float, length: int) -> Placement | None:
        slot, moves = self._vacate(keep=None)
        if slot is None:
            return None
        self._occupy(slot, prompt, length, now)
        return Placement(slot=slot, reused=length, moves=moves, restores=True)

    def _continue(self, resident: _Resident, prompt: array[int], now: float, reused: int | None = None) -> Placement:
        reused = resident.computed if reused is None else reused
        moves = (Cut(resident.slot, reused),) if reused < resident.computed else ()
        self._occupy(resident.slot, prompt, reused, now)
        return Placement(slot=resident.slot, reused=reused, moves=moves)

    def _vacate(self, keep: _Resident | None) -> tuple[int | None, tuple[Cut, ...]]:
        if self._free:
            return self._free.pop(), ()
        victim = self._oldest_idle(keep=keep)
        if victim is None:
            return None, ()
        cut = self.drop(victim.slot)
        self._free.remove(victim.slot)
        return victim.slot, (cut,)

    def _oldest_idle(self, keep: _Resident | None) -> _Resident | None:
        idle = (resident for resident in self._residents.values() if not resident.busy and resident is not keep)
        return min(idle, key=lambda resident: resident.used_at, default=None)

    def _occupy(self, slot: int, prompt: array[int], computed: int, now: float) -> None:
        self._residents[slot] = _Resident(slot=slot, tokens=prompt, computed=computed, busy=True, used_at=now)

    def _forget(self, slot: int) -> None:
        del self._residents[slot]
        self._free.append(slot)


def common_prefix(left: array[int], right: array[int]) -> int:
    """Return how many leading tokens are equal. 24,000 tokens cost some 10 µs."""
    length = min(len(left), len(right))
    differing = np.flatnonzero(
        np.frombuffer(left, np.int32, length) != np.frombuffer(right, np.int32, length) if length else np.empty(0)
    )
    return int(differing[0]) if len(differing) else length

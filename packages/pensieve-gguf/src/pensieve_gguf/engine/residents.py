"""Who holds which tokens in the KV cache, where a new prompt is placed, and what is forgotten for it. Pure bookkeeping.

A *slot* is a llama.cpp sequence id. It is free, busy (a sequence runs in it) or idle (its sequence is done, and its
cells stay for the next prompt that begins alike). Cells may belong to several slots: sharing a prefix costs nothing
(`llama_memory_seq_cp` with a unified cache).

When cells or slots run out, what is worth least per cell goes first, from the end of an idle slot, and never a cell
that a busy one holds, too.

Above: the scheduler. The moves that it returns are carried out by the engine loop before the next decode.
Below: `tree` knows who holds which cells, `worth` what they are worth.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable

import attrs

from pensieve_core import Priority
from pensieve_gguf.engine.carrying import Carrying
from pensieve_gguf.engine.checkpoints import Checkpoints
from pensieve_gguf.engine.idleness import Idleness
from pensieve_gguf.engine.moves import Change, Cut, Elsewhere, Evict, Idle, Placement, Rewind, Share
from pensieve_gguf.engine.tree import PrefixTree, Run, Use, common_prefix
from pensieve_gguf.engine.worth import Appraisal, Worth

__all__ = ["Residents"]

_TRIM = 128
"""At least one in so many of all cells is freed at once: one by one they would cost a look at all slots per token."""


class Residents:
    """The slots of one context.

    Args:
        slots: How many sequence ids there are.
        cells: How many KV cells. None: not known, or there are none but states; then nothing is evicted before a
            decode has found no room.
        forgets_partially: Whether a slot can be cut back to any length. If not, it is reused and evicted whole, save
            that it can be rewound to a checkpoint.
        checkpoints: Where slots can be rewound to; only read here.
        worth: What is kept longest.
    """

    def __init__(
        self,
        slots: int,
        *,
        cells: int | None = None,
        forgets_partially: bool = True,
        checkpoints: Checkpoints | None = None,
        worth: Appraisal | None = None,
    ) -> None:
        self._free = list(range(slots - 1, -1, -1))
        self._tree = PrefixTree()
        self._busy: set[int] = set()
        self._marks: dict[int, list[int]] = {}
        """Of busy slots: cache marks that are not computed yet, the last one first."""
        self._slots = slots
        self._cells = cells
        self.forgets_partially = forgets_partially
        self._checkpoints = Checkpoints() if checkpoints is None else checkpoints
        self._worth: Appraisal = Worth() if worth is None else worth
        self._now = 0.0
        self._idleness = Idleness()

    @property
    def idle(self) -> int:
        """How many slots could be evicted."""
        return len(self._tree) - len(self._busy)

    @property
    def slots_in_use(self) -> int:
        """Busy and idle ones."""
        return len(self._tree)

    @property
    def cells_in_use(self) -> int:
        """Of busy and idle slots; shared ones count once."""
        return self._tree.cells

    def exclusive_cells(self, slot: int) -> int:
        """Return how many cells are free once `slot` is dropped."""
        return sum(run.cells for run in self._tree.exclusive(slot))

    def held(self, slot: int) -> array[int]:
        """Return the tokens of which `slot` holds cells."""
        return self._tree.tokens(slot)[: self._tree.length(slot)] if slot in self._tree else array("i")

    def rewound(self, slot: int, limit: int) -> Rewind | None:
        """Take the busy `slot` back to its last checkpoint within `limit` tokens. None: there is none."""
        checkpoint = self._checkpoints.longest(self._tree.tokens(slot), min(limit, self._tree.length(slot)))
        if checkpoint is None:
            return None
        self._tree.cut(slot, checkpoint.length)
        return Rewind(slot, checkpoint)

    def sharing(self, tokens: array[int], target: int) -> tuple[Change, ...]:
        """Return the moves that let `target`, none of the slots here, hold exactly `tokens`; none: it cannot."""
        slots = [slot for slot in self._tree if self._tree.length(slot) >= len(tokens)]
        holders = (slot for slot in slots if common_prefix(self._tree.tokens(slot), tokens) == len(tokens))
        sharings = (self._shared(slot, target, tokens, len(tokens)) for slot in holders)
        return next((moves for moves in sharings if moves), ())

    def longest_prefix(self, prompt: array[int]) -> int:
        """Return how many tokens of `prompt` are computed somewhere; at least one is always left to compute."""
        return self._best(prompt)[1]

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
        """Find a slot for `prompt`, with the longest known prefix. None: all slots are busy, or there is no room.

        The slot is busy afterwards; `prompt` stays shared with the caller, who appends to it.

        Args:
            prompt: Token ids.
            now: Seconds on the engine's clock; never goes back.
            priority: Whose prompt it is; background prefixes are the first to go.
            conversation: Who speaks. What this one used before and does not use now is not likely to come again.
            marks: Lengths up to which the prompt is expected to come again.
            elsewhere: What of it could be loaded. If that is more than is known here, and there is room for it, the
                placement `restores` it; nothing is shared then, save what it is put behind.
            claimed: Cells that running sequences will take yet. The prompt must fit beside them, or it would be
                computed in vain. None: it is placed in any case.
        """
        self._now = now
        best, reused, known = self._best(prompt)
        if claimed is not None and self._lacking(claimed + len(prompt) - reused) > self._reclaimable(best, reused):
            return None
        placement = None if elsewhere is None else self._load(prompt, elsewhere, best, reused)
        placement = placement or self._settle(prompt, best, reused)
        if placement is None:
            return None
        if not self.forgets_partially and known > placement.reused:
            placement = attrs.evolve(placement, parts=known)
        slot = placement.slot
        self._busy.add(slot)
        self._tree.hold(slot, prompt, Use(at=now, priority=priority, conversation=conversation))
        self._marks[slot] = sorted(marks, reverse=True)
        self._tree.grow(slot, placement.reused)  # what is restored; the rest is there
        self._mark(slot)
        return placement

    def advance(self, slot: int, computed: int) -> None:
        """Note that the first `computed` tokens of the busy `slot` are in the cache, and no more."""
        if computed < self._tree.length(slot):
            self._tree.cut(slot, computed)
            return
        self._tree.grow(slot, computed)
        self._mark(slot)

    def release(self, slot: int, now: float) -> None:
        """Make `slot` idle: its tokens stay, as far as they are computed."""
        self._now = now
        self._busy.remove(slot)
        del self._marks[slot]
        self.touch(slot, now)
        if self._tree.length(slot) == 0:
            self._forget(slot)

    def preempt(self, slot: int) -> Cut | Evict:
        """Make the busy `slot` idle, and take cells from its end if it is the only idle one: it is worth as others."""
        self.release(slot, self._now)
        return self.evict() or Cut(slot, 0)

    def drop(self, slot: int) -> Cut:
        """Forget all that `slot` holds."""
        self._forget(slot)
        return Cut(slot, 0)

    def note_steps(self, steps: int) -> None:
        """Note that so many steps of answers were computed beside whatever is idle, or prompts that cost as much."""
        self._idleness.note_steps(steps)

    def stale(self, carrying: Carrying) -> Idle | None:
        """Return what has been idle for so many steps, the oldest first. Looks only now and then.

        Where all of it is copied, cells of others are copied, too, without being freed: so it may stay longer.
        """
        if not self._idleness.look():
            return None
        ends = carrying.ends and self.forgets_partially
        for slot in sorted(self._idle_slots(), key=self._idleness.beside, reverse=True):
            own, length = self.exclusive_cells(slot), self._tree.length(slot)
            if own and self._idleness.beside(slot) * own >= carrying.steps * (own if ends else length):
                return Idle(slot, self.held(slot), start=length - own if ends else 0)
        return None

    def touch(self, slot: int, now: float) -> None:
        """Let `slot` count as used now."""
        self._tree.touch(slot, now)
        self._idleness.use(slot)

    def evict(self, cells: int = 1) -> Cut | Evict | None:
        """Free some `cells`, or fewer, of those that are worth least. None: there is nothing idle.

        An idle slot whose cells others hold, too, frees none; it is the first to go, and nothing is lost with it.
        """
        idle = self._idle_slots()
        if not idle:
            return None
        slot = min(idle, key=self._worth_of_end)
        last = self._tree.last(slot)
        if len(last.holders) > 1:
            return self.drop(slot)
        if self._cells is None or not self.forgets_partially:
            return self._evict(slot, 0)
        length = last.stop - max(cells, self._cells // _TRIM)
        return self._evict(slot, length if length > last.start else self._end_after(last))

    def make_room(self, cells: int) -> tuple[Cut | Evict, ...]:
        """Evict until `cells` more fit, as far as that is possible."""
        moves: list[Cut | Evict] = []
        while (lacking := self._lacking(cells)) > 0:
            move = self.evict(lacking)
            if move is None:
                break
            moves.append(move)
        return tuple(moves)

    def check(self) -> None:
        """Raise AssertionError when the bookkeeping contradicts itself; cheap enough for an engine that is idle."""
        self._tree.check()
        if sorted([*self._tree, *self._free]) != list(range(self._slots)):
            raise AssertionError(f"slots held {sorted(self._tree)} and free {sorted(self._free)} of {self._slots}")
        if not (self._busy <= set(self._tree) and self._busy == self._marks.keys()):
            raise AssertionError(f"busy slots {sorted(self._busy)} that hold nothing")

    def reset(self) -> None:
        """Forget all that any slot holds: the bookkeeping is not to be trusted. Nothing may be busy."""
        self._tree = PrefixTree()
        self._free = list(range(self._slots - 1, -1, -1))
        self._busy.clear()
        self._marks.clear()
        self._idleness.clear()

    # -- placing -------------------------------------------------------------------------------------------------

    def _best(self, prompt: array[int]) -> tuple[int | None, int, int]:
        """Return the slot with the longest usable prefix, its length, and the length of the longest known one."""
        matches = self._tree.matches(prompt)
        known = max((reach for _, reach in matches), default=0)
        usable = self._usable(matches, known) if self.forgets_partially else self._rewindable(matches, known, prompt)
        if not usable:
            return None, 0, known

        def preference(slot: int) -> tuple[int, bool, int, float]:
            # Of equally long prefixes take one that can be continued in place, then the most recent.
            last = self._tree.last(slot)
            return usable[slot], slot not in self._busy, -last.stop, last.use.at

        best = max(usable, key=preference)
        return best, usable[best], known

    def _usable(self, matches: list[tuple[Run, int]], longest: int) -> dict[int, int]:
        return {slot: reach for run, reach in matches if reach == longest for slot in run.holders}

    def _rewindable(self, matches: list[tuple[Run, int]], longest: int, prompt: array[int]) -> dict[int, int]:
        """Return the slots that are reusable whole, and those that hold the longest checkpoint."""
        checkpoint = self._checkpoints.longest(prompt, longest)
        back = 0 if checkpoint is None else checkpoint.length
        within = {slot: back for run, reach in matches if run.start < back <= reach for slot in run.holders}
        whole = {slot: reach for run, reach in matches for slot in run.holders if self._tree.length(slot) == reach}
        return within | {slot: reach for slot, reach in whole.items() if reach > back}

    def _settle(self, prompt: array[int], best: int | None, reused: int) -> Placement | None:
        if best is not None and best not in self._busy and reused == self._tree.length(best):
            return Placement(slot=best, reused=reused, moves=())
        vacated = self._vacate(keep=best)
        if vacated is None:
            return self._cut_back(prompt, best, reused)
        slot, moves = vacated
        if best is not None:
            moves = (*moves, *self._shared(best, slot, prompt, reused))
            self._tree.share(best, slot, reused)
            self._idleness.use(best)
        return Placement(slot=slot, reused=reused, moves=moves)

    def _cut_back(self, prompt: array[int], best: int | None, reused: int) -> Placement | None:
        if best is None or best in self._busy:
            return None
        back = self._rewound(best, prompt, reused)
        return Placement(slot=best, reused=reused, moves=(self._evict(best, reused), *back))

    def _shared(self, source: int, target: int, tokens: array[int], length: int) -> tuple[Change, ...]:
        """Return the moves that let `target` hold the first `length` of `tokens`, as `source` does; none: it cannot."""
        share = Share(source, target, length)
        if self.forgets_partially or self._tree.length(source) == length:
            return (share,)
        back = self._rewound(target, tokens, length)
        return (share, *back) if back else ()

    def _rewound(self, slot: int, tokens: array[int], length: int) -> tuple[Rewind, ...]:
        """Return what makes the first `length` of `tokens` usable in `slot`, which has what cannot be cut back."""
        checkpoint = self._checkpoints.longest(tokens, length)
        return (Rewind(slot, checkpoint),) if checkpoint is not None and checkpoint.length == length else ()

    def _load(self, prompt: array[int], elsewhere: Elsewhere, best: int | None, reused: int) -> Placement | None:
        """Place it where what is loaded goes. None: as much is here, or there is no room."""
        length = min(elsewhere.length, len(prompt) - 1)
        if length <= reused:
            return None
        if elsewhere.behind:
            return self._append(prompt, length, elsewhere.cells, best, reused)
        return self._restore(length, max(length, elsewhere.cells), best, reused)

    def _restore(self, length: int, loading: int, best: int | None, reused: int) -> Placement | None:
        if self._lacking(loading) > self._reclaimable():
            return None
        moves: tuple[Change, ...] = ()
        if best is not None and best not in self._busy and reused == self._tree.length(best):
            moves = (self.drop(best),)  # what is loaded begins with it
        vacated = self._vacate(keep=None)
        if vacated is None:
            return None
        slot, evicted = vacated
        return Placement(slot=slot, reused=length, moves=(*moves, *evicted, *self.make_room(loading)), restores=True)

    def _append(self, prompt: array[int], length: int, loading: int, best: int | None, reused: int) -> Placement | None:
        """Share what is here, and let the rest of `length` tokens be loaded behind it."""
        if self._lacking(loading) > self._reclaimable(best, reused):
            return None
        shared = self._settle(prompt, best, reused)
        if shared is None:
            return None
        self._busy.add(shared.slot)  # what is evicted for the rest is not to be this
        moves = (*shared.moves, *self.make_room(loading))
        return attrs.evolve(shared, reused=length, moves=moves, restores=True, held=reused)

    def _vacate(self, keep: int | None) -> tuple[int, tuple[Change, ...]] | None:
        """Take a free slot, or evict an idle one. None: all but `keep` are busy."""
        moves: tuple[Change, ...] = ()
        if not self._free:
            idle = [slot for slot in self._idle_slots() if slot != keep]
            if not idle:
                return None
            moves = (self._evict(min(idle, key=self._worth_of_all), 0),)
        return self._free.pop(), moves

    def _mark(self, slot: int) -> None:
        marks, length = self._marks[slot], self._tree.length(slot)
        while marks and marks[-1] <= length:
            self._tree.mark(slot, marks.pop())

    # -- forgetting ----------------------------------------------------------------------------------------------

    def _idle_slots(self) -> list[int]:
        return [slot for slot in self._tree if slot not in self._busy]

    def _worth_of_end(self, slot: int) -> tuple[bool, float]:
        last = self._tree.last(slot)
        if len(last.holders) > 1:
            return False, 0.0
        return last.use.priority < Priority.BACKGROUND, self._worth(last, self._now)

    def _worth_of_all(self, slot: int) -> tuple[bool, float]:
        total = sum(self._worth(run, self._now) * run.cells for run in self._tree.exclusive(slot))
        return self._tree.last(slot).use.priority < Priority.BACKGROUND, total

    def _end_after(self, gone: Run) -> int:
        """Return how long the only holder of `gone` is without it: 0, when others hold all the rest."""
        return gone.start if gone.parent is not None and len(gone.parent.holders) == 1 else 0

    def _reclaimable(self, keep: int | None = None, length: int = 0) -> int:
        """Return how many cells no busy slot holds, nor the first `length` of the slot `keep`."""
        idle = [run for run in self._tree.runs() if self._busy.isdisjoint(run.holders)]
        kept = sum(max(0, min(run.stop, length) - run.start) for run in idle if keep in run.holders)
        return sum(run.cells for run in idle) - kept

    def _lacking(self, cells: int) -> int:
        return 0 if self._cells is None else self._tree.cells + cells - self._cells

    def _evict(self, slot: int, length: int) -> Evict:
        move = Evict(slot, length, self.held(slot))
        if length:
            self._tree.cut(slot, length)
        else:
            self._forget(slot)
        return move

    def _forget(self, slot: int) -> None:
        self._tree.drop(slot)
        self._busy.discard(slot)
        self._marks.pop(slot, None)
        self._idleness.forget(slot)
        self._free.append(slot)

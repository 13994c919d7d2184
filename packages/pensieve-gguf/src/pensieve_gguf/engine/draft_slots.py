"""Which slot of the draft model's context holds which tokens, and whose they are. A machine.

A slot follows one sequence. It may hold more than that, guesses that were wrong, or less, tokens that came since; both
are put right before the next guess. Once the sequence has ended its slot stays as it is: the next turn of the same
conversation goes on there, and an agent that begins alike shares its head.

Above: the draft model, which makes the moves. Below: values only.
"""

from __future__ import annotations

from array import array

import attrs

from pensieve_gguf.engine.moves import Cut, Share
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.tree import common_prefix

__all__ = ["DraftSlots", "Followed"]


@attrs.frozen
class Followed:
    """Where a sequence is followed, and what is to be done there first."""

    slot: int
    start: int
    """So many tokens it holds after `moves`."""
    moves: tuple[Cut | Share, ...]


@attrs.define(eq=False)
class _Slot:
    number: int
    tokens: array[int]
    key: int | None = None
    """Whose it is; None: it is idle."""
    used: int = 0
    """When it was last looked for, in turns."""

    def shared(self, sequence: Sequence) -> int:
        """Return how many tokens of `sequence` it holds, all but the last at most: that one is to be guessed from."""
        return min(common_prefix(self.tokens, sequence.tokens), len(sequence.tokens) - 1)


class DraftSlots:
    """Slots 0 to `count` - 1: two more than sequences run at once, or further ones."""

    def __init__(self, count: int) -> None:
        self._slots = [_Slot(number, array("i")) for number in range(count)]
        self._theirs: dict[int, _Slot] = {}
        self._found: dict[int, int] = {}
        """Sequences that are not followed yet: how many of their tokens were found."""
        self._lost: set[int] = set()
        """Sequences that were given up."""
        self._turn = 0

    def behind(self, sequence: Sequence) -> int | None:
        """Return how many tokens of `sequence` are to be computed, the last one always. None: it was given up."""
        if sequence.key in self._lost:
            return None
        slot = self._theirs.get(sequence.key)
        if slot is not None:
            return len(sequence.tokens) - slot.shared(sequence)
        if sequence.key not in self._found:
            self._found[sequence.key] = max(slot.shared(sequence) for slot in self._slots)
        return len(sequence.tokens) - self._found[sequence.key]

    def follow(self, sequence: Sequence) -> Followed:
        """Let a slot hold the beginning of `sequence` and nothing else; which was not given up."""
        self._turn += 1
        slot, shares = self._theirs.get(sequence.key), tuple[Share | Cut, ...]()
        if slot is None:
            slot, shares = self._taken(sequence)
        slot.used = self._turn
        start = slot.shared(sequence)
        cuts = (Cut(slot.number, start),) if len(slot.tokens) > start else ()
        del slot.tokens[start:]
        return Followed(slot.number, start, (*shares, *cuts))

    def hold(self, number: int, tokens: array[int]) -> None:
        """Note that a slot holds `tokens`, too, behind what it held."""
        self._slots[number].tokens.extend(tokens)

    def held(self, number: int) -> array[int]:
        """Return what a slot holds; not to be changed."""
        return self._slots[number].tokens

    def lose(self, number: int) -> Cut:
        """Forget what a slot holds: it was not there."""
        self._slots[number].tokens = array("i")
        return Cut(number, 0)

    def release(self, sequence: Sequence) -> None:
        """Let the slot of `sequence`, which has ended, be idle."""
        self._found.pop(sequence.key, None)
        self._lost.discard(sequence.key)
        slot = self._theirs.pop(sequence.key, None)
        if slot is not None:
            slot.key = None

    def give_up(self, sequence: Sequence) -> None:
        """Follow `sequence` no more, though it goes on."""
        self.release(sequence)
        self._lost.add(sequence.key)

    def make_room(self) -> Cut | None:
        """Forget an idle slot, the one used longest ago; else give up the longest sequence. None: nothing is held."""
        held = [slot for slot in self._slots if slot.tokens]
        if not held:
            return None
        idle = [slot for slot in held if slot.key is None]
        slot = min(idle, key=lambda one: one.used) if idle else max(held, key=lambda one: len(one.tokens))
        if slot.key is not None:
            self._lost.add(slot.key)
            del self._theirs[slot.key]
            slot.key = None
        slot.tokens = array("i")
        self._found.clear()
        return Cut(slot.number, 0)

    def _taken(self, sequence: Sequence) -> tuple[_Slot, tuple[Share | Cut, ...]]:
        """Take an idle slot: the one that holds most of it, or else the one used longest ago, and share that."""
        best = max(self._slots, key=lambda one: (one.shared(sequence), one.key is None, -one.used))
        shared = best.shared(sequence)
        slot, moves = best, tuple[Share | Cut, ...]()
        if shared and (best.key is not None or len(best.tokens) > 2 * shared):  # it holds more that may be wanted
            others = [slot for slot in self._slots if slot.key is None and slot is not best]
            slot = min(others, key=lambda one: (bool(one.tokens), one.used))
            moves = (*((Cut(slot.number, 0),) if slot.tokens else ()), Share(best.number, slot.number, shared))
            slot.tokens = best.tokens[:shared]
        slot.key = sequence.key
        self._theirs[sequence.key] = slot
        self._found.pop(sequence.key, None)
        return slot, moves

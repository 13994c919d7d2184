"""Who has a place in the KV cache: those that wait, those that run, and the way from one to the other. A machine.

A sequence that is placed holds the longest prefix of its tokens that is known anywhere; what else it needs is told as
moves. Nobody is placed who would find no room, or who does better to wait for a sibling.

Above: the scheduler, which computes those that run. Below: `precedence` says who is next, `residents` which slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Several

from pensieve_gguf.engine.moves import Elsewhere, Placement, Rewind
from pensieve_gguf.engine.precedence import Precedence, gives_way
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.steps import Move, Restore
from pensieve_gguf.engine.tree import common_prefix

__all__ = ["Placing"]

_WORTH_A_WAIT = 16
"""So many tokens are computed twice rather than waited for."""


class Placing:
    """Waiting and running sequences.

    Args:
        residents: The slots; mutated.
        shelf: Prefixes that are not in the cache any more; only read here.
        max_running: Sequences that run at once.
        plan: Says where checkpoints are made, if the model needs any.
    """

    def __init__(
        self, residents: Residents, shelf: Shelf, *, max_running: int, plan: Callable[..., tuple[int, ...]]
    ) -> None:
        self._residents = residents
        self._shelf = shelf
        self._max_running = max_running
        self._plan = plan
        self._parked: set[Sequence] = set()
        """Preempted sequences: placed again only when another one has left, or they would push each other out."""
        self._full = False
        """Whether the most urgent one found no place; it looks again only when somebody has come or left."""
        self.precedence = Precedence()
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Let `sequence` wait for its turn."""
        self.precedence.join(sequence, (*self.waiting, *self.running))
        self.waiting.append(sequence)
        self._full = False

    def remove(self, sequence: Sequence, now: float) -> None:
        """Take `sequence` out; what it computed stays as an idle prefix."""
        self._parked.discard(sequence)
        self._full = False
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        self._parked.clear()
        self._residents.release(sequence.place, now)
        sequence.slot = None

    def park(self, sequence: Sequence) -> None:
        """Let a running `sequence`, whose slot is not its own any more, wait until another one has left."""
        self._parked.add(sequence)
        self.wait_again(sequence)

    def wait_again(self, sequence: Sequence) -> None:
        """Let a running `sequence`, whose slot is not its own any more, wait for its turn."""
        self._full = False
        self.running.remove(sequence)
        self.waiting.append(sequence)
        sequence.slot = None
        sequence.computed = 0

    def place(self, now: float, token_s: float) -> tuple[Move, ...]:
        """Let those run that can, the most urgent first; return what is to be done in the cache for that.

        Args:
            now: Seconds on the engine's clock.
            token_s: Seconds that a prompt token takes.
        """
        moves: list[Move] = []
        if not self.running:
            self._parked.clear()
        if self._full:
            return ()
        waiting = [sequence for sequence in self.waiting if sequence not in self._parked]
        for sequence in self.by_urgency(waiting, now, token_s, busy=self.running):
            shelved, elsewhere = self._shelf.best(sequence.tokens, self._residents.longest_prefix(sequence.tokens))
            if self._is_being_computed(sequence, elsewhere):
                continue
            placement = self._find_place(sequence, None if shelved is None else _elsewhere(shelved, elsewhere), now)
            self._full = placement is None
            if placement is None:
                break
            moves.extend(placement.moves)
            if placement.restores and shelved is not None:
                moves.append(self._restore(placement, shelved, sequence, now))
            self._start(sequence, placement, now)
            if moves and isinstance(moves[-1], Restore | Rewind):
                break  # it may fail: nobody may be placed upon it before it is there
        return tuple(moves)

    def by_urgency(
        self, sequences: list[Sequence], now: float, token_s: float, *, busy: Iterable[Sequence]
    ) -> Several[Sequence]:
        """Return `sequences`, the most urgent first; arguments as those of `Precedence.in_order`."""
        return self.precedence.in_order(sequences, now, work=self._work, token_s=token_s, busy=busy)

    def _find_place(self, sequence: Sequence, elsewhere: Elsewhere | None, now: float) -> Placement | None:
        """Place `sequence`; let others give way for it, if need be. None: there is neither."""
        while True:
            placement = None
            if len(self.running) < self._max_running:
                placement = self._residents.place(
                    sequence.tokens,
                    now,
                    priority=sequence.priority,
                    conversation=sequence.conversation,
                    marks=sequence.marks,
                    elsewhere=elsewhere,
                    claimed=self._claimed(),
                )
            leaver = gives_way(self.running, sequence) if placement is None else None
            if leaver is None:
                return placement
            leaver.gave_way = True
            self._residents.release(leaver.place, now)
            self.wait_again(leaver)

    def _restore(self, placement: Placement, shelved: Shelved, sequence: Sequence, now: float) -> Restore:
        shelved.used_at = now
        checkpoint = None
        if not self._residents.forgets_partially and placement.reused < len(shelved.tokens):
            checkpoint = self._shelf.checkpoint(sequence.tokens, placement.reused)
        return Restore(placement.slot, shelved, placement.reused, checkpoint, held=placement.held)

    def _start(self, sequence: Sequence, placement: Placement, now: float) -> None:
        self.waiting.remove(sequence)
        self.running.append(sequence)
        sequence.slot = placement.slot
        sequence.computed = placement.reused
        if sequence.placed_at is None:
            sequence.placed_at = now
            sequence.cached = placement.reused
        if not self._residents.forgets_partially:
            sequence.checkpoints = self._planned(sequence, placement, now)

    def _planned(self, sequence: Sequence, placement: Placement, now: float) -> list[int]:
        latest = placement.reused if placement.restores else 0  # it stays on the shelf
        checkpoint = self._shelf.checkpoint(sequence.tokens, placement.reused)
        if checkpoint is not None:
            checkpoint.used_at = now
            latest = max(latest, checkpoint.length)
        planned = self._plan(
            sequence.marks, sequence.prompt_tokens, reused=placement.reused, latest=latest, parts=placement.parts
        )
        return list(planned)

    def _is_being_computed(self, sequence: Sequence, elsewhere: int) -> bool:
        """Return whether a sibling is computing a prefix of `sequence`, longer than any that is known: worth a wait."""
        siblings = [one for one in self.running if not one.answering and one.priority <= sequence.priority]
        if not siblings:
            return False
        coming, sibling = max(
            ((common_prefix(one.tokens, sequence.tokens), one) for one in siblings), key=lambda pair: pair[0]
        )
        if coming <= max(elsewhere, self._residents.longest_prefix(sequence.tokens)) + _WORTH_A_WAIT:
            return False
        return self._residents.forgets_partially or sibling.will_save(coming - _WORTH_A_WAIT)

    def _claimed(self) -> int | None:
        """Return how many cells those that run will take, as far as that can be foreseen. None: nobody runs."""
        return sum(one.to_come for one in self.running) if self.running else None

    def _work(self, sequence: Sequence) -> int:
        """Return how many tokens are to be computed before it answers: what waits may find a prefix in the cache."""
        if sequence.slot is not None:
            return sequence.pending
        there = self._residents.longest_prefix(sequence.tokens)
        return sequence.pending - max(there, self._shelf.best(sequence.tokens, there)[1])


def _elsewhere(shelved: Shelved, length: int) -> Elsewhere:
    return Elsewhere(length=length, cells=len(shelved.tokens) - shelved.start, behind=shelved.start)

"""Carries out what the scheduler has decided of cells, on the context; what leaves the KV cache goes to the shelf.

It believes nothing: what a slot is said to hold is compared with what llama.cpp says before it is computed upon, copied
or saved. A prefix that is not there would not fail, it would answer, and wrongly.

Above: the engine loop, in whose thread it runs. Below: the context, and the shelf.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

import structlog

from pensieve_gguf.engine.moves import Cut, Evict, Idle, Rewind, Save, Share
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.steps import Move, Restore, Step
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Context, State

__all__ = ["Cells"]

_log = structlog.get_logger(__name__)


class Cells:
    """The KV cache of one context, as the scheduler thinks of it.

    Args:
        context: Its cells are moved.
        scheduler: Is told when a move could not be made.
        shelf: Where prefixes go that leave the cache.
        vitals: Counters.
        clock: Monotonic seconds.
    """

    def __init__(
        self, context: Context, scheduler: Scheduler, shelf: Shelf, vitals: Vitals, clock: Callable[[], float]
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._shelf = shelf
        self._vitals = vitals
        self._clock = clock

    def make_ready(self, step: Step) -> bool:
        """Make the moves of `step`. False: something is not where it should be; the step is off."""
        failed = [move for move in step.moves if not self.make(move) and isinstance(move, Restore | Rewind)]
        for move in failed:
            self._lose(move)
        placed = (row for row in step.rows if not row.sequence.answering)  # the others were looked at before
        astray = [row.sequence for row in placed if self._is_astray(row.sequence.slot, row.start)]
        for sequence in astray:
            sequence.astray += 1
            self._note_astray(sequence.slot, sequence.computed)
            self.make(self._scheduler.rewind(sequence))
        return not failed and not astray

    def make(self, move: Move) -> bool:
        """Carry `move` out. False: it could not be."""
        match move:
            case Cut(slot=slot, length=length):
                self._context.cut(slot, length)
            case Evict():
                self._give_up(move)
            case Share(source=source, target=target, length=length):
                self._context.share(source, target, length)
            case Rewind():
                return self._rewind(move)
            case Restore():
                return self._restore(move)
            case Save():
                self._save(move)
            case _:
                assert_never(move)
        return True

    def make_all(self, moves: Iterable[Move]) -> None:
        """Carry out moves that cannot fail."""
        for move in moves:
            self.make(move)

    def tidy(self) -> None:
        """Carry an idle prefix to the shelf that makes the others slower where it is; one at a time."""
        idle = self._scheduler.stale()
        if idle is None:
            return
        if self._shelve(idle):
            self.make(self._scheduler.drop(idle))
        else:
            self._scheduler.keep(idle, self._clock())

    def check(self) -> None:
        """Look, while nothing runs, whether what is known of the cache contradicts itself; if so, forget all of it.

        What is on the shelf goes, too: it may lie there under a wrong name.
        """
        try:
            self._scheduler.check()
        except (AssertionError, LookupError) as error:
            self._vitals.resets += 1
            _log.error("cache_contradicted", reason=repr(error), shelved=len(self._shelf))
            self._scheduler.reset()
            self._shelf.clear()
            self._context.clear()

    def take_back(self, step: Step) -> None:
        """Take back what an aborted decode may have computed."""
        for row in step.rows:
            slot = row.sequence.slot
            if slot is not None and not self._context.cut(slot, row.start):
                self.fall_back(row.sequence, row.start)

    def fall_back(self, sequence: Sequence, limit: int) -> None:
        """Take a running sequence that cannot be cut back to where it was after `limit` tokens at most."""
        if not self.make(self._scheduler.fall_back(sequence, limit)):
            self.make(self._scheduler.rewind(sequence))

    def put(self, tokens: array[int], state: State, start: int = 0) -> None:
        """Lay a state on the shelf, if there is room; it may lack the cells before `start`."""
        if self._shelf.make_room(len(state)):
            self._shelf.put(Shelved(tokens=tokens, state=state, used_at=self._clock(), start=start))

    def known(self, prompt: array[int]) -> int:
        """Return how many tokens of `prompt` are in the cache or on the shelf."""
        there = self._scheduler.longest_prefix(prompt)
        return max(there, self._shelf.best(prompt, there)[1])

    def copyable(self, tokens: array[int]) -> array[int]:
        """Return as many of `tokens` as their state can be had of, once more was computed."""
        return tokens[: self._shelf.way_back(tokens)]

    def copy(self, tokens: array[int], wanted: Callable[[int], bool]) -> State | None:
        """Return the state after exactly `tokens`. None: it is not here, or not `wanted`, being so large."""
        shelved = self._shelf.whole(tokens)
        if shelved is not None:
            return shelved if wanted(len(shelved)) else None
        spare = self._spare
        try:
            moves = self._scheduler.sharing(tokens, spare)
            there = bool(moves) and all(self.make(move) for move in moves)
            whole = there and not self._is_astray(spare, len(tokens)) and wanted(self._context.state_bytes(spare))
            return self._context.state(spare) if whole else None
        finally:
            self._context.cut(spare, 0)

    @property
    def _spare(self) -> int:
        """The slot that the scheduler does not know; empty save for a moment."""
        return self._context.shape.sequences - 1

    def _restore(self, move: Restore) -> bool:
        if move.held:
            return self._append(move)
        if not self._context.restore(move.slot, move.shelved.state):
            return False
        if move.checkpoint is not None:
            if not self._rewind(Rewind(move.slot, move.checkpoint)):
                return False
        elif not self._context.cut(move.slot, move.length):
            self._context.cut(move.slot, 0)
            return False
        self._vitals.restored += 1
        return True

    def _append(self, move: Restore) -> bool:
        """Load the end of a prefix, and put it behind what the slot holds of it."""
        spare = self._spare
        try:
            if not self._context.restore(spare, move.shelved.state):
                return False
            self._context.share(spare, move.slot, move.length, start=move.held)
        finally:
            self._context.cut(spare, 0)
        self._vitals.restored += 1
        return True

    def _rewind(self, move: Rewind) -> bool:
        done = self._context.rewind(move.slot, move.checkpoint.state, move.checkpoint.length)
        self._vitals.rewound += done
        return done

    def _save(self, move: Save) -> None:
        """Make a checkpoint, if there is room for it."""
        if self._is_astray(move.slot, len(move.tokens)):
            self._note_astray(move.slot, len(move.tokens))
        elif self._shelf.make_room(self._context.checkpoint_bytes(move.slot)):
            self._shelf.keep(move.tokens, self._context.checkpoint(move.slot), self._clock())
            self._vitals.checkpoints += 1

    def _lose(self, move: Restore | Rewind) -> None:
        """Give up what could not be restored, and with it an idle prefix: with more room, the next try may succeed.

        Not before all moves of the step were made: they rely on what was idle when they were decided on.
        """
        self.make(self._scheduler.lose(move.slot))
        cut = self._scheduler.evict()
        if cut is None:
            self._shelf.discard(move.shelved if isinstance(move, Restore) else move.checkpoint)
        else:
            self.make(cut)

    def _give_up(self, move: Evict) -> None:
        """Free cells of a prefix that the scheduler has forgotten; the shelf may keep it, whole and once."""
        self._vitals.evictions += 1
        if not self._shelf.covers(move.tokens):
            self._shelve(Idle(move.slot, move.tokens))
        self._context.cut(move.slot, move.length)

    def _shelve(self, idle: Idle) -> bool:
        """Copy an idle prefix to the shelf. False: there is no room for it, or it is not what it should be."""
        if self._is_astray(idle.slot, len(idle.tokens)):
            self._note_astray(idle.slot, len(idle.tokens))
            return False
        with self._carried(idle) as slot:
            if not self._shelf.make_room(self._context.state_bytes(slot)):
                return False
            self.put(idle.tokens, self._context.state(slot), idle.start)
        self._vitals.shelved += 1
        return True

    @contextlib.contextmanager
    def _carried(self, idle: Idle) -> Iterator[int]:
        """Yield a slot that holds what is to be carried: its own, or the spare one, for a moment, the end alone."""
        if not idle.start:
            yield idle.slot
            return
        try:
            self._context.share(idle.slot, self._spare, len(idle.tokens), start=idle.start)
            yield self._spare
        finally:
            self._context.cut(self._spare, 0)

    def _is_astray(self, slot: int | None, length: int) -> bool:
        return slot is not None and not self._context.holds(slot, length)

    def _note_astray(self, slot: int | None, length: int) -> None:
        self._vitals.astray += 1
        _log.error("cells_astray", slot=slot, expected=length)

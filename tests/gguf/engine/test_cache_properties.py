"""Ours: whatever comes, goes and finds no room, what the scheduler takes for computed is in the cache.

The machine below plays the engine loop over a simulated context: it admits, steps, aborts and cancels at random, and
compares the bookkeeping of `PrefixTree`, `Residents` and `Scheduler` with the cells that are really there: no slot and
no cell is lost, what is evicted was told, and every sequence ends exactly once.
"""

from __future__ import annotations

import enum
import functools
import itertools
from array import array
from collections.abc import Iterable
from collections.abc import Sequence as Tokens

import attrs
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pensieve_core import Priority
from pensieve_gguf.engine.carrying import Carrying
from pensieve_gguf.engine.checkpoints import Checkpoint, Checkpoints, plan_checkpoints
from pensieve_gguf.engine.drafter import Drafter
from pensieve_gguf.engine.drafts import DraftPolicy
from pensieve_gguf.engine.moves import Cut, Evict, Idle, Rewind, Save, Share
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.step_costs import GivenCosts
from pensieve_gguf.engine.steps import Evicted, Exhausted, Move, Preempted, Restore, Row, Step, Undrafted

_SLOTS = 3
_MAX_RUNNING = 3
_BATCH = 8
_CELLS = 30
_LONGEST_PROMPT = 24
_SHELF_BYTES = 40
_STEPS_TO_THE_END = 2_000
_FREE = GivenCosts({1: 1.0, _BATCH: 1.0})


@attrs.frozen(eq=False)
class Cell:
    """One cell of the cache; several slots may hold it."""

    token: int


class Kind(enum.Enum):
    """What a model keeps of a sequence."""

    CELLS = enum.auto()
    STATE = enum.auto()
    """Recurrent: one state, which cannot be cut back."""
    BOTH = enum.auto()
    """Hybrid; and windows are as a state."""


class FakeCache:
    """A unified KV cache. Invariant: a slot's cells stand at positions 0, 1, 2… without a gap."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.forgets_partially = kind is Kind.CELLS
        self.slots: list[list[Cell]] = [[] for _ in range(_SLOTS)]
        self.states: list[list[int]] = [[] for _ in range(_SLOTS)]
        """The tokens that led to it."""
        self.refuses = False
        """Whether the next checkpoint is of no use."""

    def make(self, move: Move) -> bool:
        """Carry `move` out. False: there is no room for what is to be restored."""
        match move:
            case Cut(slot=slot, length=length):
                assert self.cut(slot, length), "a recurrent state was to be cut"
            case Evict(slot=slot, length=length, tokens=tokens):
                assert list(tokens) == self.holds(slot), "what goes is not what was told"
                assert length < len(tokens), "nothing was evicted"
                assert self.cut(slot, length) or self.kind is Kind.BOTH, "a recurrent state was to be cut"
            case Share(source=source, target=target, length=length):
                assert not self.slots[target], "shared onto cells that are there"
                assert length <= len(self.slots[source]), "shared what is not there"
                self.slots[target] = self.slots[source][:length]
                assert self.kind is not Kind.STATE or length == len(self.slots[source]), "shared a part of a state"
                self.states[target] = self.states[source][: length if self.forgets_partially else None]
            case Rewind(slot=slot, checkpoint=checkpoint):
                return self.rewind(slot, checkpoint)
            case Restore(slot=slot, shelved=shelved, length=length, checkpoint=checkpoint, held=held):
                assert self.holds(slot) == shelved.tokens[:held].tolist(), "restored onto something else"
                assert shelved.start <= held, "what comes before is not there"
                if not self.has_room_for(len(shelved.state)):
                    return False
                self.compute(slot, shelved.state[held - shelved.start :].tolist())
                if checkpoint is not None:
                    return self.rewind(slot, checkpoint)
                assert self.cut(slot, length), "a recurrent state was to be cut"
            case Save():
                raise AssertionError(move)
        return True

    def rewind(self, slot: int, checkpoint: Checkpoint) -> bool:
        """Go back; False: it was refused, and nothing is left."""
        assert self.kind is Kind.BOTH, "without cells a checkpoint is a state as any"
        if self.refuses:
            self.refuses = False
            self.cut(slot, 0)
            return False
        assert self.holds(slot)[: checkpoint.length] == checkpoint.state.tolist(), "went back to what never was"
        self.states[slot] = checkpoint.state.tolist()
        assert self.cut(slot, checkpoint.length)
        return True

    def cut(self, slot: int, length: int) -> bool:
        """As `llama_memory_seq_rm`."""
        if not self.forgets_partially and 0 < length < len(self.states[slot]):
            return False
        del self.slots[slot][length:], self.states[slot][length:]
        return True

    def has_room_for(self, tokens: int) -> bool:
        return self.kind is Kind.STATE or self.used + tokens <= _CELLS

    def compute(self, slot: int, tokens: Iterable[int]) -> None:
        for token in tokens:
            self.slots[slot].append(Cell(token))
            self.states[slot].append(token)

    def holds(self, slot: int) -> list[int]:
        return [cell.token for cell in self.slots[slot]]

    @property
    def used(self) -> int:
        """Cells taken; shared ones count once."""
        return len({id(cell) for cell in itertools.chain.from_iterable(self.slots)})


class EngineMachine(RuleBasedStateMachine):
    """Plays `EngineLoop`, without threads and without a model."""

    @initialize(kind=st.sampled_from(Kind), counts=st.booleans(), ends=st.booleans())
    def start(self, kind: Kind, counts: bool, ends: bool) -> None:  # noqa: FBT001 - hypothesis passes them by name
        self.counts = counts and kind is not Kind.STATE
        self.cache = FakeCache(kind)
        checkpoints, partially = Checkpoints() if kind is Kind.BOTH else None, kind is Kind.CELLS
        cells = _CELLS if self.counts else None
        self.residents = Residents(_SLOTS, cells=cells, forgets_partially=partially, checkpoints=checkpoints)
        self.shelf = Shelf(_SHELF_BYTES, forgets_partially=partially, checkpoints=checkpoints)
        self.scheduler = Scheduler(
            self.residents,
            batch_tokens=_BATCH,
            max_running=_MAX_RUNNING,
            stretch=3.0,
            shelf=self.shelf,
            carrying=Carrying(steps=2, ends=ends),
            drafts=DraftPolicy(_FREE, longest=_CELLS),
            plan=functools.partial(plan_checkpoints, spacing=2, back=1),
        )
        self.keys = itertools.count(1)
        self.now = 0.0
        self.live: list[Sequence] = []
        self.spoken: list[array[int]] = []
        self.ended: list[int] = []

    # -- what clients do -------------------------------------------------------------------------------------------

    @rule(
        head=st.integers(0, _LONGEST_PROMPT // 2),
        tail=st.integers(1, _LONGEST_PROMPT // 2),
        who=st.integers(1, 4),
        max_tokens=st.integers(0, 12),
        priority=st.sampled_from(Priority),
    )
    def admit(self, head: int, tail: int, who: int, max_tokens: int, priority: Priority) -> None:
        """A prompt that shares its head with others: tools and system text, then what the user says."""
        self.add([0] * head + [who] * tail, max_tokens, priority)

    def add(self, prompt: list[int], max_tokens: int, priority: Priority) -> None:
        sequence = Sequence(
            key=next(self.keys),
            tokens=array("i", prompt),
            prompt_tokens=len(prompt),
            max_tokens=max_tokens,
            priority=priority,
            session=prompt[-1] % 3 or None,
            conversation=prompt[-1] or None,
            marks=(len(prompt) // 2,),
            arrived=self.now,
        )
        if self.cache.forgets_partially:
            sequence.drafter = Drafter(sequence.tokens, len(prompt))
        self.live.append(sequence)
        self.scheduler.add(sequence)

    @precondition(lambda self: self.spoken)
    @rule(data=st.data(), more=st.lists(st.integers(0, 1), min_size=1, max_size=6))
    def go_on(self, data: st.DataObject, more: list[int]) -> None:
        """The next turn of a conversation that was answered: the same tokens, and new ones."""
        said = data.draw(st.sampled_from(self.spoken))
        self.add([*said, *more][:_LONGEST_PROMPT], 3, Priority.MAIN)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.live))
        self.leave(sequence)

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # -- what the loop does ----------------------------------------------------------------------------------------

    @rule(elapsed_s=st.floats(0.0, 5.0), settled=st.integers(0, _BATCH))
    def step(self, elapsed_s: float = 0.01, settled: int = _BATCH) -> None:
        """One step. After `settled` tokens an answer has had enough, or its sampler has a bug."""
        step = self.scheduler.schedule(self.now)
        if step is None:
            assert self.scheduler.idle
            return
        if not self.prepare(step):
            return
        assert 0 < step.tokens <= _BATCH
        self.check_rows(step.rows)
        if not self.cache.has_room_for(step.tokens):
            self.make_room()
            return
        for row in step.rows:
            self.cache.compute(slot_of(row), tokens_of(row))
        sampled = {row.sequence.key: drawn(row)[:settled] for row in step.rows}
        for move in self.scheduler.commit(step, sampled, elapsed_s, self.now):
            self.make(move)
        for row in step.rows:
            if row.samples and (is_over(row.sequence) or len(sampled[row.sequence.key]) == settled):
                self.leave(row.sequence)

    @rule(computed=st.integers(0, _BATCH))
    def abort(self, computed: int) -> None:
        """A decode was stopped; llama.cpp had computed some of the rows."""
        step = self.scheduler.schedule(self.now)
        if step is None or not self.prepare(step) or not self.cache.has_room_for(step.tokens):
            return
        for row in step.rows:
            tokens = tokens_of(row)[:computed]
            self.cache.compute(slot_of(row), tokens)
            computed -= len(tokens)
        for row in step.rows:
            if not self.cache.cut(slot_of(row), row.start):
                self.fall_back(row.sequence, row.start)

    def fall_back(self, sequence: Sequence, limit: int) -> None:
        """As the loop: to a checkpoint, or to the beginning."""
        if not self.cache.make(self.scheduler.fall_back(sequence, limit)):
            self.cache.make(self.scheduler.rewind(sequence))
        assert sequence.computed <= limit

    @rule()
    def spoil(self) -> None:
        """llama.cpp will refuse a checkpoint."""
        self.cache.refuses = True

    @precondition(lambda self: any(one.answering for one in self.scheduler.running))
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """An answer is taken back, to be sampled anew."""
        sequence = data.draw(st.sampled_from([one for one in self.scheduler.running if one.answering]))
        cut = self.scheduler.take_back(sequence)
        assert sequence.generated == 0
        if not self.cache.cut(cut.slot, cut.length):
            self.fall_back(sequence, cut.length)

    def make_room(self) -> None:
        idle = self.residents.idle
        relief = self.scheduler.relieve()
        if self.counts and not isinstance(relief, Undrafted):
            assert idle == 0, "a decode found no room where some could have been made before"
        match relief:
            case Undrafted():
                pass
            case Evicted(cut=cut) | Preempted(cut=cut):
                self.make(cut)
            case Exhausted(sequence=sequence):
                msg = f"{sequence} fits into an empty cache: its end is seen before"
                raise AssertionError(msg)

    def prepare(self, step: Step) -> bool:
        """Make the moves. False: something could not be restored, and the step is off."""
        failed = [move for move in step.moves if not self.make(move) and isinstance(move, Restore | Rewind)]
        for move in failed:
            refused = self.cache.kind is Kind.BOTH and not self.cache.refuses
            assert refused or not self.counts, "a state was to be restored for which no room had been made"
            self.make(self.scheduler.lose(move.slot))
            cut = self.scheduler.evict()
            if cut is None:
                self.shelf.discard(move.shelved if isinstance(move, Restore) else move.checkpoint)
            else:
                self.make(cut)
        return not failed

    def make(self, move: Move) -> bool:
        """As the loop: what is evicted goes to the shelf, if it is not there."""
        if isinstance(move, Evict) and not self.shelf.covers(move.tokens):
            self.shelve(Idle(move.slot, move.tokens))
        if isinstance(move, Save):
            self.save(move)
            return True
        return self.cache.make(move)

    def save(self, move: Save) -> None:
        assert self.cache.holds(move.slot) == list(move.tokens), "a checkpoint of something else"
        if self.shelf.make_room(len(move.tokens)):
            self.shelf.keep(move.tokens, np.array(move.tokens, np.uint8), self.now)

    def shelve(self, idle: Idle) -> bool:
        assert self.cache.holds(idle.slot) == list(idle.tokens)
        state = np.array(idle.tokens[idle.start :], np.uint8)
        if not self.shelf.make_room(len(state)):
            return False
        self.shelf.put(Shelved(tokens=idle.tokens, state=state, used_at=self.now, start=idle.start))
        return True

    @rule()
    def tidy(self) -> None:
        """An idle prefix slows the others down."""
        idle = self.scheduler.stale()
        if idle is None:
            return
        if self.shelve(idle):
            self.cache.make(self.scheduler.drop(idle))
        else:
            self.scheduler.keep(idle, self.now)

    @precondition(lambda self: any(one.computed for one in self.scheduler.running))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A state could not be restored."""
        sequence = data.draw(st.sampled_from(self.scheduler.running))
        assert sequence.slot is not None
        self.cache.make(self.scheduler.lose(sequence.slot))

    def leave(self, sequence: Sequence) -> None:
        slot, computed = sequence.slot, sequence.computed
        self.scheduler.remove(sequence, self.now)
        self.ended.append(sequence.key)
        assert slot is None or self.residents.held(slot) == sequence.tokens[:computed], "its cells stay as a prefix"
        self.live.remove(sequence)
        for position in range(sequence.prompt_tokens, len(sequence.tokens)):
            assert sequence.tokens[position] == next_token(position), "drafts changed what is said"
        self.spoken.append(sequence.tokens)

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def the_shelf_keeps_to_its_cap(self) -> None:
        assert self.shelf.bytes_used <= _SHELF_BYTES

    def check_rows(self, rows: Tokens[Row]) -> None:
        """Reuse is truthful: what a row builds on is in its slot, and nothing beyond it."""
        for row in rows:
            assert self.cache.holds(slot_of(row)) == list(row.sequence.tokens[: row.start])
            assert self.cache.states[slot_of(row)] == list(row.sequence.tokens[: row.start])
            assert row.start < row.stop <= len(row.sequence.tokens)
            assert row.samples == (row.stop == len(row.sequence.tokens))
            assert not row.draft or self.cache.forgets_partially
            assert row.sequence.generated + len(row.draft) < max(1, row.sequence.max_tokens)

    @invariant()
    def every_slot_holds_what_is_said_of_it(self) -> None:
        self.residents.check()
        for slot in range(_SLOTS):
            assert self.cache.holds(slot) == list(self.residents.held(slot))
            assert self.cache.states[slot] == list(self.residents.held(slot))

    @invariant()
    def cells_are_counted_as_they_are(self) -> None:
        assert self.residents.cells_in_use == self.cache.used
        for slot in range(_SLOTS):
            others = {id(cell) for other in range(_SLOTS) if other != slot for cell in self.cache.slots[other]}
            exclusive = sum(id(cell) not in others for cell in self.cache.slots[slot])
            assert not self.residents.held(slot) or self.residents.exclusive_cells(slot) == exclusive

    @invariant()
    def slots_are_neither_lost_nor_held_twice(self) -> None:
        running = self.scheduler.running
        assert len(running) <= _MAX_RUNNING
        assert len({sequence.slot for sequence in running} - {None}) == len(running)
        assert self.residents.slots_in_use - self.residents.idle == len(running)
        assert all(sequence.slot is None for sequence in self.scheduler.waiting)

    @invariant()
    def every_live_sequence_is_waiting_or_running(self) -> None:
        assert sorted(one.key for one in self.live) == sorted(
            one.key for one in (*self.scheduler.waiting, *self.scheduler.running)
        )
        assert all(0 <= one.computed < len(one.tokens) for one in self.live)

    @invariant()
    def cells_are_never_overcommitted(self) -> None:
        assert self.cache.kind is Kind.STATE or self.cache.used <= _CELLS

    def teardown(self) -> None:
        """All that was admitted ends, and once all is evicted no cell is left."""
        if not hasattr(self, "cache"):
            return
        for _ in range(_STEPS_TO_THE_END):
            if self.scheduler.idle:
                break
            self.step()
        assert self.live == []
        assert sorted(self.ended) == list(range(1, next(self.keys))), "every sequence ends once"
        while (cut := self.residents.evict()) is not None:
            self.cache.make(cut)
        assert (self.cache.used, self.residents.cells_in_use, self.residents.slots_in_use) == (0, 0, 0)


def slot_of(row: Row) -> int:
    assert row.sequence.slot is not None
    return row.sequence.slot


def tokens_of(row: Row) -> list[int]:
    return [*row.sequence.tokens[row.start : row.stop], *row.draft]


def next_token(position: int) -> int:
    """What is sampled at `position`: 1 1 1 0 1 1 1 0…, so that some drafts are right, and some in part."""
    return int(position % 4 > 0)


def drawn(row: Row) -> list[int]:
    """Return what is sampled: as much of the draft as is right, and one more."""
    if not row.samples or row.sequence.max_tokens == 0:
        return []
    sampled: list[int] = []
    for guess in (*row.draft, None):
        sampled.append(next_token(row.stop + len(sampled)))
        if sampled[-1] != guess:
            break
    return sampled


def is_over(sequence: Sequence) -> bool:
    return sequence.generated >= sequence.max_tokens or len(sequence.tokens) >= _CELLS


TestEngine = pytest.mark.timeout(600)(EngineMachine.TestCase)  # ten seconds on a machine that does nothing else
TestEngine.settings = settings(max_examples=1_000, stateful_step_count=25)

"""Ours: a draft model's slots hold what they are said to hold, whoever comes and goes."""

from __future__ import annotations

import itertools
from array import array

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from pensieve_gguf.engine.draft_slots import DraftSlots
from pensieve_gguf.engine.moves import Cut, Share
from pensieve_gguf.engine.sequence import Sequence

_keys = itertools.count(1)


def sequence(text: str) -> Sequence:
    return Sequence(key=next(_keys), tokens=array("i", map(ord, text)), prompt_tokens=len(text), max_tokens=100)


class Mirror:
    """A context that does what it is told."""

    def __init__(self, count: int) -> None:
        self.machine = DraftSlots(count)
        self.held = dict.fromkeys(range(count), "")

    def follow(self, one: Sequence) -> tuple[int, int]:
        followed = self.machine.follow(one)
        for move in followed.moves:
            self.make(move)
        assert self.held[followed.slot] == text_of(one)[: followed.start]
        assert followed.start < len(one.tokens), "the last token is computed again, to guess from"
        return followed.slot, followed.start

    def compute(self, one: Sequence, guessed: str = "") -> int:
        """Compute all that is known, and guesses."""
        slot, start = self.follow(one)
        tokens = one.tokens[start:] + array("i", map(ord, guessed))
        self.machine.hold(slot, tokens)
        self.held[slot] += "".join(map(chr, tokens))
        return len(tokens)

    def make(self, move: Cut | Share | None) -> None:
        if isinstance(move, Cut):
            self.held[move.slot] = self.held[move.slot][: move.length]
        elif move is not None:
            assert not self.held[move.target], "shared into what is there"
            self.held[move.target] = self.held[move.source][: move.length]


def text_of(one: Sequence) -> str:
    return "".join(map(chr, one.tokens))


def test_wrong_guesses_are_cut_and_right_ones_stay() -> None:
    mirror, one = Mirror(3), sequence("abc")
    mirror.compute(one, "def")
    one.tokens.extend(map(ord, "dX"))
    assert mirror.machine.behind(one) == 1
    assert mirror.compute(one) == 1
    assert mirror.held[0] == "abcdX"


def test_what_was_taken_back_is_cut() -> None:
    """A broken call is sampled anew."""
    mirror, one = Mirror(3), sequence("abcdef")
    mirror.compute(one)
    del one.tokens[3:]
    one.tokens.extend(map(ord, "xyz!"))
    assert mirror.compute(one) == 4


def test_the_next_turn_goes_on_in_the_slot_of_the_last() -> None:
    mirror, first = Mirror(3), sequence("a long conversation")
    slot = mirror.follow(first)[0]
    mirror.compute(first)
    mirror.machine.release(first)
    second = sequence("a long conversation, and more")
    assert mirror.machine.behind(second) == len(", and more")
    assert mirror.follow(second) == (slot, len("a long conversation"))


def test_a_head_is_shared_with_one_at_work_and_with_one_that_holds_much_more() -> None:
    mirror, busy, idle = Mirror(5), sequence("head: one"), sequence("tools: " + "x" * 50)
    for one in (busy, idle):
        mirror.compute(one)
    mirror.machine.release(idle)
    for text, shared in (("head: two", 6), ("tools: y", 7)):
        slot, start = mirror.follow(sequence(text))
        assert start == shared
        assert slot not in {0, 1}
    assert mirror.held[0] == "head: one"
    assert mirror.held[1] == text_of(idle)


def test_a_stranger_takes_the_slot_that_was_not_used_for_longest() -> None:
    mirror, ones = Mirror(3), [sequence(text) for text in ("aaa", "bbb", "ccc")]
    for one in ones:
        mirror.compute(one)
        mirror.machine.release(one)
    assert mirror.follow(sequence("ddd")) == (0, 0)
    assert mirror.held[0] == ""


def test_room_is_made_by_the_idle_first_and_then_by_the_longest() -> None:
    mirror, idle, short, long = Mirror(5), sequence("idle"), sequence("short"), sequence("a long one")
    for one in (idle, short, long):
        mirror.compute(one)
    mirror.machine.release(idle)
    assert mirror.machine.make_room() == Cut(0, 0)
    assert mirror.machine.behind(long) == 1
    assert mirror.machine.make_room() == Cut(2, 0)
    assert mirror.machine.behind(long) is None, "it was given up"
    assert mirror.machine.behind(short) == 1
    mirror.machine.release(long)
    assert mirror.machine.behind(long) == len("a long one"), "and is new when it comes again"
    assert mirror.machine.make_room() == Cut(1, 0)
    assert mirror.machine.make_room() is None


def test_one_that_is_given_up_leaves_its_slot_to_others() -> None:
    mirror, one = Mirror(3), sequence("head: one")
    mirror.compute(one)
    mirror.machine.give_up(one)
    assert mirror.machine.behind(one) is None
    assert mirror.follow(sequence("head: one, again")) == (0, len("head: one"))
    mirror.machine.release(one)
    assert mirror.machine.behind(one) is not None, "it is new when it comes again"


class Slots(RuleBasedStateMachine):
    """Sequences come, grow, are guessed for, are taken back, and go; now and then there is no room."""

    sequences: Bundle[Sequence] = Bundle("sequences")
    RUNNING = 4

    def __init__(self) -> None:
        super().__init__()
        self.mirror = Mirror(self.RUNNING + 2)
        self.running: list[Sequence] = []

    @rule(target=sequences, text=st.text("ab", min_size=1, max_size=12))
    def begin(self, text: str) -> Sequence | MultipleResults[Sequence]:
        if len(self.running) == self.RUNNING:
            return multiple()
        self.running.append(sequence(text))
        return self.running[-1]

    @rule(one=sequences, said=st.text("ab", max_size=4), guessed=st.text("ab", max_size=4))
    def guess(self, one: Sequence, said: str, guessed: str) -> None:
        one.tokens.extend(map(ord, said))
        behind = self.mirror.machine.behind(one)
        if behind is not None:
            assert behind <= len(one.tokens)
            self.mirror.compute(one, guessed)

    @rule(one=sequences, share=st.floats(0, 1))
    def take_back(self, one: Sequence, share: float) -> None:
        del one.tokens[max(1, int(share * len(one.tokens))) :]

    @rule(one=consumes(sequences))
    def end(self, one: Sequence) -> None:
        self.running.remove(one)
        self.mirror.machine.release(one)

    @rule(one=sequences)
    def give_up(self, one: Sequence) -> None:
        self.mirror.machine.give_up(one)
        assert self.mirror.machine.behind(one) is None

    @rule()
    def make_room(self) -> None:
        self.mirror.make(self.mirror.machine.make_room())

    @invariant()
    def holds_what_it_says(self) -> None:
        for slot, held in self.mirror.held.items():
            assert "".join(map(chr, self.mirror.machine.held(slot))) == held


Slots.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestSlots = Slots.TestCase

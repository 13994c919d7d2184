"""Ours: design 2, "Disk tier": written once, off the hot path."""

from __future__ import annotations

from array import array

from pensieve_gguf.anchors import AnchorKind
from pensieve_gguf.engine.keeping import Keep, Keeping


def upto(length: int) -> array[int]:
    return array("i", range(length))


def test_at_first_there_is_nothing_to_keep() -> None:
    keeping = Keeping()
    assert keeping.due_in(0.0) is None
    assert keeping.take(0.0) is None


def test_a_head_is_due_a_breath_later_and_taken_once() -> None:
    """Copying 500 MB takes 0.2 s on a GPU; an agent's next request was a few milliseconds away (measured)."""
    keeping = Keeping()
    keeping.note(upto(700), head=600, conversation="a", goes_on=True, now=5.0)
    assert keeping.due_in(5.0) == 0.25
    assert keeping.take(5.2) is None
    assert keeping.take(5.25) == Keep(tokens=upto(600), kind=AnchorKind.HEAD, conversation="a")
    assert keeping.take(5.25) is None


def test_a_turn_that_called_a_tool_is_due_when_nothing_was_asked_for_a_while() -> None:
    keeping = Keeping()
    keeping.note(upto(700), head=0, conversation="a", goes_on=True, now=5.0)
    assert keeping.due_in(6.0) == 9.0
    assert keeping.take(14.9) is None
    assert keeping.take(15.0) == Keep(tokens=upto(700), kind=AnchorKind.TURN, conversation="a")
    assert keeping.due_in(15.0) is None


def test_a_turn_that_hands_over_to_a_person_is_due_within_a_second() -> None:
    keeping = Keeping()
    keeping.note(upto(700), head=0, conversation="a", goes_on=False, now=5.0)
    assert keeping.due_in(5.25) == 0.75
    assert keeping.take(5.9) is None
    assert keeping.take(6.0) == Keep(tokens=upto(700), kind=AnchorKind.TURN, conversation="a")


def test_any_turn_puts_the_quiet_off() -> None:
    keeping = Keeping()
    keeping.note(upto(700), head=0, conversation="a", goes_on=True, now=5.0)
    keeping.note(upto(800), head=0, conversation="b", goes_on=True, now=14.0)
    assert keeping.take(15.0) is None
    taken = [keeping.take(24.0), keeping.take(24.0)]
    assert [keep.conversation for keep in taken if keep] == ["b", "a"]


def test_who_waits_for_a_person_is_not_held_up_by_one_who_goes_on() -> None:
    keeping = Keeping()
    keeping.note(upto(700), head=0, conversation="a", goes_on=False, now=5.0)
    keeping.note(upto(800), head=0, conversation="b", goes_on=True, now=5.5)
    taken = keeping.take(6.5)
    assert taken is not None
    assert taken.conversation == "a"
    assert keeping.due_in(6.5) == 9.0


def test_the_next_turn_of_a_conversation_takes_the_place_of_the_last() -> None:
    keeping = Keeping()
    for length in (700, 900):
        keeping.note(upto(length), head=600, conversation="a", goes_on=True, now=0.0)
    assert keeping.take(0.25) is not None
    last = keeping.take(20.0)
    assert last is not None
    assert len(last.tokens) == 900
    assert keeping.take(20.0) is None


def test_at_the_end_nothing_has_to_wait_and_heads_go_first() -> None:
    # a server stopped within the second after an answer lost both
    keeping = Keeping()
    keeping.note(upto(700), head=600, conversation="a", goes_on=True, now=5.0)
    keeping.note(upto(800), head=0, conversation="b", goes_on=False, now=5.0)
    taken = [keeping.take_any() for _ in range(4)]
    assert [len(keep.tokens) if keep else None for keep in taken] == [600, 800, 700, None]


def test_what_is_short_is_not_worth_a_file() -> None:
    keeping = Keeping()
    keeping.note(upto(511), head=511, conversation="a", goes_on=True, now=0.0)
    assert keeping.due_in(99.0) is None


def test_of_many_conversations_the_latest_are_remembered() -> None:
    keeping = Keeping()
    for number in range(100):
        keeping.note(upto(700), head=0, conversation=str(number), goes_on=True, now=0.0)
    taken = []
    while (keep := keeping.take(99.0)) is not None:
        taken.append(keep.conversation)
    assert taken == [str(number) for number in range(99, 35, -1)]

"""Ours: which constraint is in force when. The parser and the constraints play parts."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.constraints import HEADER, MARKED_HEADER, Guide, Plan
from pensieve_gguf.parsers import GLM_TAGS, QWEN_TAGS, OpenCall, Tags

THINK = 900


@attrs.define
class Spelled:
    """Admits the letters of `text`, one after the other; whole at its end."""

    text: str
    taken: int = 0
    failed: str = ""

    @property
    def satisfied(self) -> bool:
        return self.taken == len(self.text)

    @property
    def ended(self) -> bool:
        return self.satisfied

    def begun(self, text: str = "") -> Spelled | None:
        return Spelled(self.text, len(text)) if self.text.startswith(text) else None

    def admits(self, token: int) -> bool:
        return not self.satisfied and chr(token) == self.text[self.taken]

    def mask(self, logits: Any) -> None:
        keep = ord(self.text[self.taken])
        logits[:keep] = logits[keep + 1 :] = -np.inf

    def forced(self) -> list[int]:
        return [ord(char) for char in self.text[self.taken :]]

    def accept(self, token: int) -> bool:
        admitted = self.admits(token)
        self.taken += 1
        self.failed = "" if admitted else "torn"
        return admitted


@attrs.frozen
class Read:
    """What a parser says."""

    thinking: bool = False
    opened: OpenCall | None = None


def follow(guide: Guide, text: str, reading: Read | None = None, *, settled: bool = True) -> None:
    for char in text:
        guide.follow(ord(char), reading or Read(), settled=settled)


def admits(guide: Guide, text: str) -> str:
    """Return the letters of `text` that may come next."""
    return "".join(char for char in text if guide.admits(ord(char)))


def call(text: str = "{", *, name: str = "ls", number: int = 1) -> Read:
    return Read(opened=OpenCall(number=number, name=name, text=text))


# -- the whole answer --------------------------------------------------------------------------------------------


def test_a_whole_answer_is_constrained_from_its_first_token_to_its_last() -> None:
    guide = Guide(Plan(whole=Spelled("abc")))
    for said in "abc":
        assert admits(guide, "abcd") == said
        assert not guide.complete
        follow(guide, said)
    assert guide.complete
    assert guide.satisfied
    assert guide.finish(enough=False) == ""


def test_a_mask_leaves_what_is_admitted() -> None:
    logits = np.zeros(256, np.float32)
    Guide(Plan(whole=Spelled("abc"))).mask(logits)
    assert np.flatnonzero(np.isfinite(logits)).tolist() == [ord("a")]
    Guide(Plan()).mask(logits[:4])


def test_what_a_constraint_forces_is_told_where_it_is_in_force() -> None:
    """Ours: design 2, "Drafts": the skeleton of a call."""
    guide = Guide(Plan(whole=Spelled("abc"), think_tokens=frozenset({THINK})))
    assert guide.forced() == [], "it may begin with reasoning"
    follow(guide, "a")
    assert bytes(guide.forced()) == b"bc"
    follow(guide, "bc")
    assert guide.forced() == []
    begun = Guide(CALLS)
    assert begun.forced() == []
    follow(begun, "{", call("{"))
    assert bytes(begun.forced()) == b"12}"


def test_a_turn_that_ends_before_the_answer_is_complete_is_told() -> None:
    guide = Guide(Plan(whole=Spelled("abc")))
    follow(guide, "ab")
    assert "before the answer was complete" in guide.finish(enough=False)
    assert guide.finish(enough=True) == "", "the parser has heard a whole call"


def test_reasoning_is_free_and_the_constraint_begins_after_it() -> None:
    guide = Guide(Plan(whole=Spelled("abc"), opens_thinking=True))
    follow(guide, "zzz", Read(thinking=True))
    assert admits(guide, "az") == "az"
    follow(guide, "z", Read(), settled=False)
    assert admits(guide, "az") == "az", "the parser does not know all that was said"
    follow(guide, "z")
    assert admits(guide, "az") == "a"


def test_an_answer_may_begin_with_reasoning_where_that_was_asked_for() -> None:
    guide = Guide(Plan(whole=Spelled("abc"), think_tokens=frozenset({THINK})))
    assert guide.admits(THINK)
    guide.follow(THINK, Read(thinking=True), settled=True)
    assert admits(guide, "az") == "az"
    follow(guide, "z", Read(thinking=True))
    follow(guide, "z")
    assert admits(guide, "az") == "a"
    assert not guide.admits(THINK), "only once"


def test_after_its_first_token_an_answer_cannot_begin_to_reason() -> None:
    guide = Guide(Plan(whole=Spelled("abc"), think_tokens=frozenset({THINK})))
    follow(guide, "a")
    assert not guide.admits(THINK)


def test_a_constraint_that_fails_lets_go_and_is_told() -> None:
    guide = Guide(Plan(whole=Spelled("abc")))
    follow(guide, "z")
    assert guide.finish(enough=False) == "torn"
    assert admits(guide, "az") == "az"
    follow(guide, "anything at all")


def test_a_constraint_that_leaves_nothing_to_say_is_given_up() -> None:
    guide = Guide(Plan(whole=Spelled("abc")))
    guide.give_up("a dead end")
    assert guide.failure == "a dead end"
    assert admits(guide, "az") == "az"


# -- calls begun unasked -----------------------------------------------------------------------------------------

CALLS = Plan(calls={"ls": Spelled("{12}")})


def test_what_was_not_demanded_cannot_be_missing() -> None:
    guide = Guide(CALLS)
    guide.give_up("nothing was in force")
    assert Guide(CALLS).finish(enough=False) == ""


@pytest.mark.parametrize("begun", ["{", "{1", "{12"])
def test_a_call_is_constrained_until_its_arguments_are_whole(begun: str) -> None:
    guide = Guide(CALLS)
    follow(guide, "text")
    assert admits(guide, "az") == "az"
    follow(guide, "x", call(begun))
    for said in "{12}"[len(begun) :]:
        assert admits(guide, "{12}z") == said
        assert not guide.satisfied, "the answer was not demanded, so it does not end by itself"
        follow(guide, said, call(begun))
    assert admits(guide, "az") == "az"
    assert guide.failure == ""


def test_a_call_is_constrained_before_its_arguments_and_again_in_them() -> None:
    """The letter that ends the header begins the arguments."""
    guide = Guide(Plan(calls={HEADER: Spelled("<1{"), "ls": Spelled("{12}")}))
    follow(guide, "<", call("<", name=""))
    assert admits(guide, "<12{z") == "1"
    follow(guide, "1", call("<1", name=""))
    follow(guide, "{", call("{"))
    assert admits(guide, "<12{z") == "1"
    assert guide.failure == ""


def test_a_header_that_nothing_is_known_of_is_free() -> None:
    guide = Guide(CALLS)
    follow(guide, "<", call("<", name=""))
    assert admits(guide, "1z") == "1z"
    follow(guide, "{", call("{"))
    assert admits(guide, "1z") == "1"


def test_a_constraint_that_is_made_after_its_call_began_is_taken_up_then() -> None:
    calls: dict[str, Spelled] = {}
    guide = Guide(Plan(calls=calls))
    follow(guide, "{", call("{"))
    assert admits(guide, "1z") == "1z"
    calls["ls"] = Spelled("{12}")
    follow(guide, "1", call("{1"))
    assert admits(guide, "12z") == "2"


def test_a_call_in_another_familys_form_has_a_constraint_of_its_own() -> None:
    def foreign(name: str, tags: Tags | None) -> Spelled | None:
        return Spelled("<12>") if (name, tags) == ("ls", QWEN_TAGS) else None

    for tags, text, admitted in ((QWEN_TAGS, "<", "1"), (GLM_TAGS, "<", "12z"), (None, "{", "1")):
        guide = Guide(Plan(calls={"ls": Spelled("{12}")}, foreign=foreign))
        follow(guide, text, Read(opened=OpenCall(number=1, name="ls", text=text, tags=tags)))
        assert admits(guide, "12z") == admitted


def test_a_call_that_is_demanded_in_the_middle_is_constrained_from_its_mark_on() -> None:
    assert not Guide(CALLS).can_demand_a_call
    guide = Guide(Plan(calls={MARKED_HEADER: Spelled("<{"), "ls": Spelled("{12}")}))
    follow(guide, "text")
    possible = [guide.can_demand_a_call]
    guide.demand_a_call()
    possible.append(guide.can_demand_a_call)
    assert possible == [True, False], "one is demanded already"
    assert admits(guide, "<{1z") == "<"
    follow(guide, "<{", call("{"))
    assert admits(guide, "<{1z") == "1"


@pytest.mark.parametrize(
    ("reading", "settled"),
    [(call("[oh"), True), (call("{12}"), True), (call(name="cat"), True), (call(), False)],
    ids=["refused already", "whole already", "unknown", "held back"],
)
def test_a_call_that_cannot_be_constrained_is_left_alone(reading: Read, *, settled: bool) -> None:
    guide = Guide(CALLS)
    follow(guide, "x", reading, settled=settled)
    assert admits(guide, "1z") == "1z"
    assert guide.failure == ""


def test_a_call_is_looked_at_once() -> None:
    """One that was refused is not taken up in its middle."""
    guide = Guide(CALLS)
    follow(guide, "x", call("[oh"))
    follow(guide, "x", call("{"))
    assert admits(guide, "1z") == "1z"
    follow(guide, "x", call("{", number=2))
    assert admits(guide, "1z") == "1"


steps = st.tuples(st.sampled_from("{12}z"), st.booleans(), st.integers(0, 2))


@given(st.lists(steps), st.booleans())
def test_who_says_only_what_is_admitted_keeps_what_was_demanded(
    said: list[tuple[str, bool, int]],
    asked: bool,  # noqa: FBT001 - drawn
) -> None:
    guide = Guide(CALLS)
    for wish, settled, number in said:
        admitted = next(char for char in wish + "{12}" if guide.admits(ord(char)))
        reading = call(number=number) if number else Read()
        guide.follow(ord(admitted if asked else wish), reading, settled=settled)
        assert not (asked and guide.failure)
        assert (guide._constraint is None) == (guide._state.name == "FREE")

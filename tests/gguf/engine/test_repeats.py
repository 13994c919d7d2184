"""Observed: Qwen2.5-Coder-1.5B under Claude Code called `ls` five times in a row, and said no word to the user."""

from __future__ import annotations

from typing import Any

from pensieve_core import (
    GenerationEvent,
    GenerationRequest,
    JsonObject,
    ModelId,
    RequestId,
    Role,
    TextPart,
    TextProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.engine.repeats import Repeat, RepeatGuard, answered_calls

ROOT: JsonObject = {"path": "/"}
ANSWERED = frozenset({Repeat("ls", '{"path":"/"}')})
STARTED = ToolCallStarted(id=ToolCallId("toolu_9"), name="ls")


def arguments(text: str) -> tuple[GenerationEvent, ...]:
    """Return fragments of one character each."""
    return tuple(ToolCallArguments(fragment=character) for character in text)


# -- the guard -----------------------------------------------------------------------------------------------------


def test_the_call_that_was_just_answered_is_held_back_and_caught() -> None:
    guard = RepeatGuard(ANSWERED)
    assert [guard.feed((event,)) for event in (STARTED, *arguments('{"path": "/"}'))] == [()] * 14
    assert guard.refused
    assert guard.finish() == ()


def test_white_space_makes_no_other_call() -> None:
    guard = RepeatGuard(ANSWERED)
    guard.feed((STARTED, *arguments('{\n  "path" : "/"\n}')))
    assert guard.refused


def test_a_call_with_other_arguments_goes_through_from_where_it_differs() -> None:
    guard = RepeatGuard(ANSWERED)
    assert guard.feed((STARTED, *arguments('{"path": "/'))) == ()
    released = guard.feed(arguments("e"))
    assert released == (STARTED, *arguments('{"path": "/e'))
    assert guard.feed(arguments('tc"}')) == arguments('tc"}')
    assert not guard.refused


def test_another_tool_goes_through_at_once() -> None:
    guard = RepeatGuard(ANSWERED)
    other = ToolCallStarted(id=ToolCallId("toolu_9"), name="cat")
    assert guard.feed((other,)) == (other,)


def test_a_call_after_text_goes_through() -> None:
    """The user has been told something: it is no mute loop."""
    guard = RepeatGuard(ANSWERED)
    said = TextProduced(text="Once more, to be sure.")
    assert guard.feed((said,)) == (said,)
    assert guard.feed((STARTED, *arguments('{"path": "/"}'))) == (STARTED, *arguments('{"path": "/"}'))
    assert not guard.refused


def test_a_call_that_was_cut_off_is_let_out_at_the_end() -> None:
    guard = RepeatGuard(ANSWERED)
    guard.feed((STARTED, *arguments('{"pa')))
    assert guard.finish() == (STARTED, *arguments('{"pa'))
    assert not guard.refused


def test_a_second_call_is_not_looked_at() -> None:
    guard = RepeatGuard(ANSWERED)
    other = ToolCallStarted(id=ToolCallId("toolu_8"), name="cat")
    assert guard.feed((other,)) == (other,)
    guard.feed((STARTED, *arguments('{"path":"/"}')))
    assert not guard.refused


def test_without_answered_calls_nothing_is_held_back() -> None:
    guard = RepeatGuard(frozenset())
    assert guard.feed((STARTED,)) == (STARTED,)
    assert guard.finish() == ()


# -- which calls ---------------------------------------------------------------------------------------------------


def user(*texts: str) -> Turn:
    return Turn(role=Role.USER, parts=tuple(TextPart(text=text) for text in texts))


def calls(*several: tuple[str, str, JsonObject]) -> Turn:
    parts = (ToolCallPart(id=ToolCallId(call), name=name, arguments=given) for call, name, given in several)
    return Turn(role=Role.ASSISTANT, parts=tuple(parts))


def results(**texts: str) -> Turn:
    parts = (ToolResultPart(call_id=ToolCallId(call), content=(TextPart(text=text),)) for call, text in texts.items())
    return Turn(role=Role.USER, parts=tuple(parts))


def answered(*turns: Turn, spelling: Any = lambda first, call: None) -> frozenset[Repeat]:
    request = GenerationRequest(id=RequestId("req_1"), model=ModelId("m"), turns=turns, max_tokens=9)
    return answered_calls(request, spelling)


def test_without_a_call_there_is_nothing_to_repeat() -> None:
    assert answered(user("hello")) == frozenset()


def test_the_call_of_the_latest_turn_must_not_come_again() -> None:
    assert answered(user("look"), calls(("a", "ls", ROOT)), results(a="bin")) == ANSWERED


def test_a_call_that_has_no_result_yet_may_come_again() -> None:
    assert answered(user("look"), calls(("a", "ls", ROOT))) == frozenset()


def test_an_earlier_call_may_come_again_once() -> None:
    """Reading a file, changing it, and reading it again is work."""
    turns = (
        user("look"),
        calls(("a", "ls", ROOT)),
        results(a="bin"),
        calls(("b", "cat", ROOT)),
        results(b="words"),
    )
    assert answered(*turns) == {Repeat("cat", '{"path":"/"}')}


def test_a_call_that_brought_the_same_result_twice_must_not_come_again() -> None:
    """Two calls in turns, for ever, is a loop, too."""
    turns = (
        user("look"),
        calls(("a", "ls", ROOT)),
        results(a="bin"),
        calls(("b", "cat", ROOT)),
        results(b="words"),
        calls(("c", "ls", ROOT)),
        results(c="bin"),
        calls(("d", "cat", ROOT)),
        results(d="other words"),
    )
    assert answered(*turns) == {Repeat("ls", '{"path":"/"}'), Repeat("cat", '{"path":"/"}')}


def test_a_tool_that_brings_nothing_new_three_times_must_not_come_again_at_once() -> None:
    """Seen: pages 9-10, 10-11, 11-12… of a file with one line."""
    pages: list[Turn] = []
    for number in ("1", "2", "3"):
        pages += [calls((f"c{number}", "read", {"page": number})), results(**{f"c{number}": "the line"})]
    assert Repeat("read", "") not in answered(user("look"), *pages[:4])
    assert Repeat("read", "") in answered(user("look"), *pages)
    assert Repeat("read", "") not in answered(user("look"), *pages, calls(("d", "ls", ROOT)), results(d="bin"))


def test_any_call_of_a_tool_is_caught_by_its_name_alone() -> None:
    guard = RepeatGuard(frozenset({Repeat("ls", "")}))
    assert guard.feed((STARTED,)) == ()
    assert guard.refused


def test_a_turn_that_came_twice_word_for_word_ends_after_its_words() -> None:
    """Seen: "I apologize for any confusion…" and `ls`, fourteen times."""
    said = Turn(role=Role.ASSISTANT, parts=(TextPart(text="Let me see.\n"), *calls(("a", "ls", ROOT)).parts))
    once = (user("look"), said, results(a="bin"))
    repeat = Repeat("ls", '{"path":"/"}', "Let me see.")
    assert repeat not in answered(*once)
    assert repeat in answered(*once, *once[1:])
    guard = RepeatGuard(frozenset({repeat}))
    assert guard.feed((TextProduced(text="Let me"), TextProduced(text=" see.\n"))) != ()
    assert guard.feed((STARTED, *arguments('{"path": "/"}'))) == ()
    assert (guard.ended, guard.refused) == (True, False)
    assert guard.finish() == ()


def test_other_words_make_it_another_turn() -> None:
    guard = RepeatGuard(frozenset({Repeat("ls", '{"path":"/"}', "Let me see.")}))
    events = (TextProduced(text="Let us"), STARTED, *arguments('{"path": "/"}'))
    assert guard.feed(events) == events
    assert not guard.ended


def test_once_the_user_has_spoken_any_call_may_come() -> None:
    assert answered(user("look"), calls(("a", "ls", ROOT)), results(a="bin"), user("again, please")) == frozenset()


def test_a_reminder_of_the_client_is_not_the_user_speaking() -> None:
    """Claude Code puts them into user turns (design 4)."""
    reminded = user("<system-reminder>be brief</system-reminder>", " ")
    assert answered(user("look"), calls(("a", "ls", ROOT)), results(a="bin"), reminded) == ANSWERED


def test_arguments_are_compared_as_the_model_wrote_them() -> None:
    """Clients reorder keys; the model repeats its own order."""

    def spelling(first: ToolCallId, call: ToolCallId) -> str | None:
        return '{ "b": 1, "a": 2 }' if (first, call) == ("a", "a") else None

    turns = (user("look"), calls(("a", "ls", {"a": 2, "b": 1})), results(a="bin"))
    assert answered(*turns, spelling=spelling) == {Repeat("ls", '{"b":1,"a":2}')}


def test_letters_of_all_languages_are_compared_as_they_are() -> None:
    turns = (user("look"), calls(("a", "ls", {"path": "/café"})), results(a="bin"))
    assert answered(*turns) == {Repeat("ls", '{"path":"/café"}')}

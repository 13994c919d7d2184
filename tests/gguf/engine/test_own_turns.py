"""Ours: design 2, "Own turns replayed exactly"."""

from __future__ import annotations

import json

import pytest

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    JsonObject,
    Part,
    Role,
    TextPart,
    TextProduced,
    ThinkingPart,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
    Usage,
)
from pensieve_gguf.engine.own_turns import OwnTurns

WORDS = 'Let me see.\n<tool_call>{"name":"ls","arguments":{ "path" : "/", "all": true }}</tool_call>'
ARGUMENTS = '{ "path" : "/", "all": true }'
FINISH = GenerationFinished(reason=FinishReason.TOOL_CALLS, usage=Usage(prompt_tokens=1))


def told(call: str = "toolu_1", arguments: str = ARGUMENTS, text: str = "Let me see.") -> list[GenerationEvent]:
    """Return what a client was told: text, and a call in two fragments."""
    return [
        *([TextProduced(text=text[:3]), TextProduced(text=text[3:])] if text else []),
        ToolCallStarted(id=ToolCallId(call), name="ls"),
        ToolCallArguments(fragment=arguments[:5]),
        ToolCallArguments(fragment=arguments[5:]),
        FINISH,
    ]


def sent_back(
    *,
    call: str = "toolu_1",
    name: str = "ls",
    arguments: JsonObject | None = None,
    text: str = "Let me see.",
    before: tuple[Part, ...] = (),
    cache_mark: bool = False,
) -> Turn:
    """Return the assistant's turn as a client sends it: arguments parsed, keys in another order."""
    given = {"all": True, "path": "/"} if arguments is None else arguments
    called = ToolCallPart(id=ToolCallId(call), name=name, arguments=given, cache_mark=cache_mark)
    return Turn(role=Role.ASSISTANT, parts=(*before, TextPart(text=text), called))


def remembering() -> OwnTurns:
    own = OwnTurns()
    own.note(WORDS, told())
    return own


def test_a_turn_that_comes_back_is_what_the_model_said() -> None:
    (turn,) = remembering().restore((sent_back(),))
    assert turn == Turn(role=Role.ASSISTANT, parts=(TextPart(text=WORDS),))


def test_other_turns_are_left_alone() -> None:
    asked = Turn(role=Role.USER, parts=(TextPart(text="what is there?"),))
    result = Turn(
        role=Role.USER,
        parts=(ToolResultPart(call_id=ToolCallId("toolu_1"), content=(TextPart(text="bin"),)),),
    )
    plain = Turn(role=Role.ASSISTANT, parts=(TextPart(text="Let me see."),))
    turns = remembering().restore((asked, sent_back(), result, plain))
    assert (turns[0], *turns[2:]) == (asked, result, plain)
    assert turns[1].parts == (TextPart(text=WORDS),)


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(sent_back(arguments={"path": "/etc", "all": True}), id="arguments"),
        pytest.param(sent_back(name="cat"), id="name"),
        pytest.param(sent_back(text="I shall look."), id="text"),
        pytest.param(sent_back(call="toolu_2"), id="id"),
        pytest.param(sent_back(before=(ThinkingPart(text="hm"),)), id="thinking that was none"),
        pytest.param(Turn(role=Role.USER, parts=sent_back().parts), id="role"),
    ],
)
def test_a_turn_that_the_client_altered_is_taken_as_it_was_sent(altered: Turn) -> None:
    assert remembering().restore((altered,)) == (altered,)


def test_white_space_around_the_text_is_no_alteration() -> None:
    (turn,) = remembering().restore((sent_back(text=" Let me see.\n"),))
    assert turn.parts == (TextPart(text=WORDS),)


def test_a_cache_mark_is_kept() -> None:
    (turn,) = remembering().restore((sent_back(cache_mark=True),))
    assert turn.parts == (TextPart(text=WORDS, cache_mark=True),)


def test_thinking_that_comes_back_belongs_to_the_turn() -> None:
    own = OwnTurns()
    own.note(f"<think>hm</think>{WORDS}", [ThinkingProduced(text="hm"), *told()])
    (turn,) = own.restore((sent_back(before=(ThinkingPart(text="hm"),)),))
    assert turn.parts == (TextPart(text=f"<think>hm</think>{WORDS}"),)
    assert own.restore((sent_back(),)) == (sent_back(),)


def test_a_call_without_arguments_is_remembered() -> None:
    own = OwnTurns()
    own.note("<tool_call>…", [ToolCallStarted(id=ToolCallId("toolu_1"), name="ls")])
    called = ToolCallPart(id=ToolCallId("toolu_1"), name="ls", arguments={})
    (turn,) = own.restore((Turn(role=Role.ASSISTANT, parts=(called,)),))
    assert turn.parts == (TextPart(text="<tool_call>…"),)


def test_several_calls_of_one_turn_belong_together() -> None:
    own = OwnTurns()
    own.note("two calls", [*told("toolu_1", text="")[:-1], *told("toolu_2", text="")])
    both = [ToolCallPart(id=ToolCallId(f"toolu_{n}"), name="ls", arguments={"path": "/", "all": True}) for n in (1, 2)]
    (turn,) = own.restore((Turn(role=Role.ASSISTANT, parts=tuple(both)),))
    assert turn.parts == (TextPart(text="two calls"),)
    one = Turn(role=Role.ASSISTANT, parts=(both[0],))
    assert own.restore((one,)) == (one,)


def test_a_turn_without_a_call_is_not_remembered() -> None:
    own = OwnTurns()
    own.note("just words", [TextProduced(text="just words"), FINISH])
    turn = Turn(role=Role.ASSISTANT, parts=(TextPart(text="just words"),))
    assert own.restore((turn,)) == (turn,)


def test_a_call_whose_arguments_are_no_json_is_not_remembered() -> None:
    own = OwnTurns()
    own.note(WORDS, told(arguments='{"path": '))
    assert own.restore((sent_back(),)) == (sent_back(),)


def test_the_spelling_of_arguments_is_known_by_the_turn_and_the_call() -> None:
    own = remembering()
    one = ToolCallId("toolu_1")
    assert own.spelling(one, one) == ARGUMENTS
    assert own.spelling(one, ToolCallId("toolu_2")) is None
    assert own.spelling(ToolCallId("toolu_2"), one) is None
    assert json.loads(ARGUMENTS) == {"path": "/", "all": True}


def test_only_the_latest_turns_are_remembered() -> None:
    own = OwnTurns()
    for number in range(1_001):
        own.note(WORDS, told(f"toolu_{number}"))
    assert own.restore((sent_back(call="toolu_0"),)) == (sent_back(call="toolu_0"),)
    (turn,) = own.restore((sent_back(call="toolu_1000"),))
    assert turn.parts == (TextPart(text=WORDS),)

"""Ours: what gpt-oss's parser tells while it reads; its goldens are in `goldens/`."""

from __future__ import annotations

import pytest

from pensieve_core import (
    GenerationRequest,
    ModelId,
    RequestId,
    Role,
    TextPart,
    TextProduced,
    ThinkingProduced,
    Tool,
    ToolCallId,
    ToolChoice,
    Turn,
)
from pensieve_gguf.parsers import OpenCall, OutputParser, make_parser

HARMONY = "<|channel|> <|message|>"
CALL = '<|channel|>commentary to=functions.Bash <|constrain|>json<|message|>{"command": "ls"}'


def open_parser(
    last: tuple[Role, str] = (Role.USER, "hi"),
    *,
    parallel: bool = True,
    opens_thinking: bool = False,
    template: str = HARMONY,
) -> OutputParser:
    request = GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("m"),
        turns=(Turn(role=last[0], parts=(TextPart(text=last[1]),)),),
        tools=(Tool(name="Bash", parameters={"type": "object"}),),
        tool_choice=ToolChoice(parallel=parallel),
        max_tokens=10,
    )
    return make_parser(template, request, opens_thinking=opens_thinking, new_call_id=lambda: ToolCallId("toolu_1"))


def test_it_tells_whether_it_reasons() -> None:
    parser = open_parser()
    reasons = []
    for piece in ("<|channel|>analysis", "<|message|>", "Hm.", "<|end|>", "<|start|>assistant"):
        parser.feed(piece)
        reasons.append(parser.thinking)
    assert reasons == [False, True, True, False, False]


def test_a_call_is_open_from_its_name_on() -> None:
    parser = open_parser()
    opened = []
    for piece in ("<|channel|>commentary to=functions.", "Ba", 'sh<|message|>{"comm'):
        parser.feed(piece)
        opened.append(parser.opened)
    assert opened == [
        None,
        OpenCall(number=1, name="", text="Ba"),
        OpenCall(number=1, name="Bash", text='{"comm'),
    ]
    assert parser.called


def test_a_call_in_hermes_form_is_open_too() -> None:
    parser = open_parser()
    parser.feed('<|channel|>final<|message|><tool_call>\n{"name": "B')
    assert parser.opened == OpenCall(number=1, name="", text='{"name": "B')


@pytest.mark.parametrize("text", [CALL, f"<|channel|>final<|message|><function=Bash></function>{CALL}"])
def test_without_parallel_calls_the_first_one_ends_the_answer(text: str) -> None:
    parser = open_parser(parallel=False)
    parser.feed(f"{text}<|call|><|start|>assistant{CALL}")
    assert parser.done
    assert parser.feed("more") == ()
    assert parser.finish() == ()


def test_a_call_without_arguments_ends_the_answer_with_its_message() -> None:
    parser = open_parser(parallel=False)
    parser.feed("<|channel|>commentary to=functions.Bash<|message|><|call|>more")
    assert parser.done


def test_an_answer_that_was_begun_goes_on() -> None:
    parser = open_parser((Role.ASSISTANT, "The answer is"))
    assert parser.feed(" 42.<|return|>") == (TextProduced(text=" 42."),)


def test_a_prompt_that_opened_reasoning_begins_with_it() -> None:
    parser = open_parser(opens_thinking=True)
    assert parser.feed("Hm.<|end|>") == (ThinkingProduced(text="Hm."),)


def test_gemmas_arguments_are_not_told_as_json() -> None:
    parser = open_parser(template="<|tool_call>call:")
    parser.feed("<|tool_call>call:Ba")
    assert parser.opened == OpenCall(number=1, name="", text="call:Ba")
    parser.feed("sh{command:")
    assert parser.opened is None


def test_a_call_that_breaks_in_a_message_of_text_is_told() -> None:
    parser = open_parser()
    parser.feed("<|channel|>final<|message|>So:\n")
    assert (parser.broken, parser.holds) == (0, False)
    parser.feed('{"name": "Bash", ')
    assert parser.holds
    parser.feed('"arguments": [1]}')
    assert parser.broken == 1

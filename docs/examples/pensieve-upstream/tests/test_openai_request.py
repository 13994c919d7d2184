"""What the upstream is asked: https://platform.openai.com/docs/api-reference/chat/create."""

from __future__ import annotations

from typing import Any

import pytest
from pensieve_upstream.openai_request import chat_body, one_token_body, tokenize_body

from pensieve_core import (
    Effort,
    GenerationRequest,
    ImagePart,
    ModelId,
    RequestId,
    Role,
    Sampling,
    TextPart,
    Thinking,
    ThinkingPart,
    Tool,
    ToolCallId,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)

CALL = ToolCallId("call_1")


def turn(role: Role, *parts: Any) -> Turn:
    return Turn(role=role, parts=parts)


def request(*turns: Turn, **knobs: Any) -> GenerationRequest:
    said = turns or (turn(Role.USER, TextPart(text="Hi")),)
    return GenerationRequest(id=RequestId("req_1"), model=ModelId("m"), turns=said, **{"max_tokens": 9, **knobs})


def test_a_plain_request_says_no_more_than_it_must() -> None:
    assert chat_body(request(), "there") == {
        "model": "there",
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Hi"}],
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_the_head_is_one_system_message_and_later_system_turns_are_the_users() -> None:
    body = chat_body(
        request(
            turn(Role.SYSTEM, TextPart(text="Be brief.")),
            turn(Role.SYSTEM, TextPart(text="Be kind.", cache_mark=True)),
            turn(Role.USER, TextPart(text="Hi")),
            turn(Role.SYSTEM, TextPart(text="It is late.")),
        ),
        "m",
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "It is late."},
    ]


def test_results_follow_their_calls_images_are_the_users_and_reasoning_stays_here() -> None:
    image = ImagePart(media_type="image/png", data=b"png")
    result = ToolResultPart(call_id=CALL, content=(TextPart(text="a.txt"), image, ToolReferencePart(name="Find")))
    body = chat_body(
        request(
            turn(Role.USER, TextPart(text="ls")),
            turn(
                Role.ASSISTANT,
                ThinkingPart(text="hm", signature="ours"),
                ToolCallPart(id=CALL, name="Bash", arguments={"command": "ls"}),
            ),
            turn(Role.USER, TextPart(text="And this?"), result),
            turn(Role.ASSISTANT, TextPart(text="A picture.")),
        ),
        "m",
    )
    _, call, told, shown, answer = body["messages"]
    function = {"name": "Bash", "arguments": '{"command":"ls"}'}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    assert call == {"role": "assistant", "content": None, "tool_calls": calls}
    assert told == {"role": "tool", "tool_call_id": "call_1", "content": "a.txt\nThe tool Find is available."}
    url = {"url": "data:image/png;base64,cG5n"}
    assert shown["content"] == [{"type": "image_url", "image_url": url}, {"type": "text", "text": "And this?"}]
    assert answer == {"role": "assistant", "content": "A picture."}


def test_a_turn_of_reasoning_alone_is_no_message() -> None:
    """`content` is "required unless `tool_calls` or `function_call` is specified": strict servers answer 400."""
    body = chat_body(
        request(
            turn(Role.USER, TextPart(text="Hi")),
            turn(Role.ASSISTANT, ThinkingPart(text="hm", signature="ours")),
            turn(Role.USER, TextPart(text="Well?")),
        ),
        "m",
    )
    assert [message["content"] for message in body["messages"]] == ["Hi", "Well?"]


def test_an_image_without_a_word_is_shown_alone() -> None:
    image = ImagePart(media_type="image/png", data=b"png")
    (message,) = chat_body(request(turn(Role.USER, image)), "m")["messages"]
    assert [piece["type"] for piece in message["content"]] == ["image_url"]


def test_a_turn_of_results_alone_adds_no_words() -> None:
    body = chat_body(request(turn(Role.USER, ToolResultPart(call_id=CALL, content=()))), "m")
    assert body["messages"] == [{"role": "tool", "tool_call_id": "call_1", "content": ""}]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (ToolChoice(), "auto"),
        (ToolChoice(mode=ToolChoiceMode.ANY), "required"),
        (ToolChoice(mode=ToolChoiceMode.NONE), "none"),
        (ToolChoice(mode=ToolChoiceMode.TOOL, name="Bash"), {"type": "function", "function": {"name": "Bash"}}),
    ],
)
def test_tools_and_how_free_the_model_is_are_told(choice: ToolChoice, told: object) -> None:
    tools = (
        Tool(name="Bash", description="Runs", parameters={"type": "object"}, strict=True),
        Tool(name="Read", parameters={}),
    )
    body = chat_body(request(tools=tools, tool_choice=choice), "m")
    first, second = (tool["function"] for tool in body["tools"])
    assert first == {"name": "Bash", "description": "Runs", "parameters": {"type": "object"}, "strict": True}
    assert "strict" not in second
    assert body["tool_choice"] == told
    assert "parallel_tool_calls" not in body


def test_one_call_at_a_time_is_told() -> None:
    body = chat_body(request(tools=(Tool(name="Bash", parameters={}),), tool_choice=ToolChoice(parallel=False)), "m")
    assert body["parallel_tool_calls"] is False


def test_sampling_reasoning_and_the_form_of_the_answer_are_told() -> None:
    body = chat_body(
        request(
            sampling=Sampling(temperature=0.0, top_p=0.9, top_k=5, seed=1),
            stop_sequences=("END",),
            thinking=Thinking(enabled=True, effort=Effort.MAX),
            output_schema={"type": "object"},
        ),
        "m",
    )
    assert (body["temperature"], body["top_p"], body["top_k"], body["seed"], body["stop"]) == (0.0, 0.9, 5, 1, ["END"])
    assert (body["chat_template_kwargs"], body["reasoning_effort"]) == ({"enable_thinking": True}, "high")
    schema = {"name": "answer", "schema": {"type": "object"}}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert chat_body(request(thinking=Thinking(effort=Effort.LOW)), "m")["reasoning_effort"] == "low"


def test_no_tokens_at_all_are_one_there() -> None:
    assert chat_body(request(max_tokens=0), "m")["max_tokens"] == 1


def test_to_count_a_prompt_is_to_ask_for_the_same_prompt() -> None:
    asked = request(tools=(Tool(name="Bash", parameters={}),), sampling=Sampling(temperature=1.0))
    body, counted = chat_body(asked, "m"), tokenize_body(asked, "m")
    assert counted == {name: body[name] for name in ("model", "messages", "tools", "chat_template_kwargs")}
    assert one_token_body(asked, "m") == {**counted, "max_tokens": 1}

"""What the upstream is asked: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from typing import Any

from pensieve_upstream.anthropic_request import count_body, messages_body

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

CALL = ToolCallId("toolu_1")


def turn(role: Role, *parts: Any) -> Turn:
    return Turn(role=role, parts=parts)


def request(*turns: Turn, **knobs: Any) -> GenerationRequest:
    said = turns or (turn(Role.USER, TextPart(text="Hi")),)
    return GenerationRequest(id=RequestId("req_1"), model=ModelId("m"), turns=said, **{"max_tokens": 9, **knobs})


def test_a_plain_request_says_no_more_than_it_must() -> None:
    assert messages_body(request(), "there") == {
        "model": "there",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_the_head_is_the_system_text_and_later_system_turns_are_the_users() -> None:
    body = messages_body(
        request(
            turn(Role.SYSTEM, TextPart(text="Be brief.", cache_mark=True)),
            turn(Role.USER, TextPart(text="Hi")),
            turn(Role.SYSTEM, TextPart(text="It is late.")),
        ),
        "m",
    )
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert [message["role"] for message in body["messages"]] == ["user", "user"]


def test_calls_results_and_images_keep_their_form_and_reasoning_stays_here() -> None:
    image = ImagePart(media_type="image/png", data=b"png")
    result = ToolResultPart(
        call_id=CALL, content=(TextPart(text="a.txt"), image, ToolReferencePart(name="Find")), is_error=True
    )
    body = messages_body(
        request(
            turn(Role.USER, TextPart(text="ls")),
            turn(
                Role.ASSISTANT,
                ThinkingPart(text="hm", signature="ours"),
                ToolCallPart(id=CALL, name="Bash", arguments={"command": "ls"}),
            ),
            turn(Role.USER, result, ToolResultPart(call_id=CALL, content=())),
        ),
        "m",
    )
    _, call, results = body["messages"]
    assert call["content"] == [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}]
    first, second = results["content"]
    assert first["is_error"] is True
    assert [block["type"] for block in first["content"]] == ["text", "image", "text"]
    assert first["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "cG5n"}
    assert second == {"type": "tool_result", "tool_use_id": "toolu_1", "content": []}


def test_a_turn_of_reasoning_alone_is_no_message() -> None:
    """Theirs: "all messages must have non-empty content", save for a last one of the assistant."""
    body = messages_body(
        request(
            turn(Role.USER, TextPart(text="Hi")),
            turn(Role.ASSISTANT, ThinkingPart(text="hm", signature="ours")),
            turn(Role.USER, TextPart(text="Well?")),
        ),
        "m",
    )
    assert [message["content"][0]["text"] for message in body["messages"]] == ["Hi", "Well?"]


def test_tools_and_how_free_the_model_is_are_told() -> None:
    tools = (Tool(name="Bash", parameters={"type": "object"}, strict=True, cache_mark=True),)
    forced = ToolChoice(mode=ToolChoiceMode.TOOL, name="Bash", parallel=False)
    body = messages_body(request(tools=tools, tool_choice=forced), "m")
    assert body["tools"][0]["input_schema"] == {"type": "object"}
    assert body["tools"][0]["strict"] is True
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["tool_choice"] == {"type": "tool", "name": "Bash", "disable_parallel_tool_use": True}
    none = ToolChoice(mode=ToolChoiceMode.NONE, parallel=False)
    assert messages_body(request(tools=tools, tool_choice=none), "m")["tool_choice"] == {"type": "none"}


def test_sampling_reasoning_and_the_form_of_the_answer_are_told() -> None:
    body = messages_body(
        request(
            max_tokens=4_000,
            sampling=Sampling(temperature=0.0, top_p=0.9, top_k=5, seed=1),
            stop_sequences=("END",),
            thinking=Thinking(enabled=True, budget_tokens=2_000, effort=Effort.LOW),
            output_schema={"type": "object"},
        ),
        "m",
    )
    assert (body["temperature"], body["top_p"], body["top_k"], body["stop_sequences"]) == (0.0, 0.9, 5, ["END"])
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2_000}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"}
    for unbounded in (Thinking(enabled=True), Thinking(enabled=True, budget_tokens=9)):
        assert messages_body(request(thinking=unbounded, max_tokens=9), "m")["thinking"] == {"type": "adaptive"}


def test_to_count_a_prompt_is_to_ask_for_the_same_prompt() -> None:
    asked = request(tools=(Tool(name="Bash", parameters={}),), sampling=Sampling(temperature=1.0))
    counted, body = count_body(asked, "m"), messages_body(asked, "m")
    assert counted == {name: body[name] for name in ("model", "messages", "tools", "tool_choice")}

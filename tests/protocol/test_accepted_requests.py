"""What must be accepted: everything that real clients send, and whatever they may come to send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import Effort, ModelId, Origin, Priority, RequestId, Role, TextPart, Thinking
from pensieve_protocol import (
    CountTokensRequest,
    MessagesRequest,
    RequestError,
    parse_count_tokens_request,
    parse_messages_request,
    to_generation_request,
)

EPHEMERAL = {"type": "ephemeral"}
BILLING = "x-anthropic-billing-header: cc_version=2.1.197.d7d; cc_entrypoint=cli;"

CLAUDE_CODE_MAIN: dict[str, Any] = {
    # In the shape observed from Claude Code 2.1.197 (design 4), texts shortened.
    "model": "claude-opus-4-8",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>\nToday is Monday.\n</system-reminder>"},
                {"type": "text", "text": "List the files", "cache_control": EPHEMERAL},
            ],
        },
        {"role": "system", "content": "Agents: general-purpose, Explore."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I shall look.", "signature": "EqQB"},
                {"type": "text", "text": ""},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}, "caller": None},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": "a.txt",
                    "is_error": False,
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                }
            ],
        },
    ],
    "system": [
        {"type": "text", "text": BILLING},
        {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral", "scope": "global"}},
        {"type": "text", "text": "Long instructions.", "cache_control": EPHEMERAL},
    ],
    "tools": [
        {
            "name": "Bash",
            "description": "Runs a command.",
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"command": {"type": "string"}},
                "required": ["command"],
                "additionalProperties": False,
            },
            "eager_input_streaming": True,
        }
    ],
    "metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
    "max_tokens": 32000,
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
    "stream": True,
}

CLAUDE_CODE_TITLE: dict[str, Any] = {
    "model": "claude-haiku-4-5-20251001",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "List the files"}]}],
    "system": [{"type": "text", "text": BILLING}, {"type": "text", "text": "Write a title."}],
    "tools": [],
    "max_tokens": 32000,
    "thinking": {"type": "disabled"},
    "temperature": 1,
    "output_config": {
        "format": {
            "type": "json_schema",
            "schema": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
        }
    },
    "stream": True,
}

# One of everything, for the fuzzer to damage.
EVERYTHING: dict[str, Any] = {
    **CLAUDE_CODE_MAIN,
    "messages": [
        *CLAUDE_CODE_MAIN["messages"],
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}, "title": "T"},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "x"}, {"type": "tool_reference", "tool_name": "Bash"}],
                },
            ],
        },
    ],
    "tools": [
        *CLAUDE_CODE_MAIN["tools"],
        {"type": "bash_20250124", "name": "bash"},
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    ],
    "tool_choice": {"type": "tool", "name": "Bash"},
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "cache_control": EPHEMERAL,
    "diagnostics": {"previous_message_id": None},
    "output_format": {"type": "json_schema", "schema": {}},
    "container": None,
    "thread": None,
    "mcp_servers": [],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.sampled_from(["", "text", "user", "tool"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "x", "text"]), inner),
    max_leaves=5,
)


def test_a_main_call_of_claude_code_is_understood() -> None:
    wire = parse_messages_request(orjson.dumps(CLAUDE_CODE_MAIN))
    request = to_generation_request(wire, request_id=RequestId("r"), model=ModelId("m"), origin=Origin())

    assert wire.stream
    assert wire.unknown_fields == ()
    assert request.turns[0].parts == (
        TextPart(text="You are Claude Code.", cache_mark=True),
        TextPart(text="Long instructions.", cache_mark=True),
    )
    assert [turn.role for turn in request.turns] == [Role.SYSTEM, Role.USER, Role.SYSTEM, Role.ASSISTANT, Role.USER]
    assert [part.type for part in request.turns[3].parts] == ["thinking", "tool_call"]
    assert request.thinking == Thinking(enabled=True, budget_tokens=8192, effort=Effort.HIGH)
    assert request.origin.priority is Priority.MAIN
    assert [tool.name for tool in request.tools] == ["Bash"]


def test_a_title_call_of_claude_code_is_background_work() -> None:
    wire = parse_messages_request(orjson.dumps(CLAUDE_CODE_TITLE))
    request = to_generation_request(wire, request_id=RequestId("r"), model=ModelId("m"), origin=Origin())

    assert request.output_schema == CLAUDE_CODE_TITLE["output_config"]["format"]["schema"]
    assert request.thinking == Thinking(enabled=False, budget_tokens=0)
    assert request.origin.priority is Priority.BACKGROUND


def test_the_prompt_does_not_depend_on_the_billing_block() -> None:
    """Design 4: its last hex digits change from conversation to conversation."""
    other = json.loads(json.dumps(CLAUDE_CODE_MAIN).replace("197.d7d", "197.0ff"))
    first, second = (
        to_generation_request(
            parse_messages_request(orjson.dumps(request)),
            request_id=RequestId("r"),
            model=ModelId("m"),
            origin=Origin(),
        )
        for request in (CLAUDE_CODE_MAIN, other)
    )
    assert first == second


def test_counting_sees_the_prompt_that_generating_is_charged_for() -> None:
    raw = orjson.dumps(EVERYTHING)
    generate, count = (
        to_generation_request(wire, request_id=RequestId("r"), model=ModelId("m"), origin=Origin())
        for wire in (parse_messages_request(raw), parse_count_tokens_request(raw))
    )
    for part_of_the_prompt in ("turns", "tools", "tool_choice", "output_schema"):
        assert getattr(generate, part_of_the_prompt) == getattr(count, part_of_the_prompt)
    assert generate.thinking.enabled == count.thinking.enabled


@given(st.dictionaries(st.text(min_size=1).map("x_".__add__), JSON, max_size=4))
def test_unknown_fields_are_ignored_and_named(fields: dict[str, Any]) -> None:
    """Design 4: never 400 on an unknown beta, header or field."""
    request = parse_messages_request(orjson.dumps({**EVERYTHING, **fields}))
    assert request.unknown_fields == tuple(sorted(fields))


@pytest.mark.parametrize("field", ["service_tier", "speed", "inference_geo", "user_profile_id", "fallbacks"])
def test_what_only_anthropic_can_honour_is_ignored(parse: Callable[..., MessagesRequest], field: str) -> None:
    assert parse(**{field: ["anything"]}) == parse()


def test_a_client_cannot_set_what_the_parser_fills(parse: Callable[..., MessagesRequest]) -> None:
    assert parse(unknown_fields=["lie"]).unknown_fields == ()


def test_null_in_an_optional_field_means_that_it_is_left_out(parse: Callable[..., MessagesRequest]) -> None:
    optional = ("system", "tools", "tool_choice", "thinking", "stop_sequences", "temperature", "stream", "metadata")
    assert parse(**dict.fromkeys(optional)) == parse()


def test_the_largest_integer_of_64_bits_is_accepted(parse: Callable[..., MessagesRequest]) -> None:
    assert parse(max_tokens=2**63 - 1).max_tokens == 2**63 - 1


def test_max_tokens_zero_is_accepted(parse: Callable[..., MessagesRequest]) -> None:
    """The SDK on `max_tokens`: "Set to `0` to populate the prompt cache"; a thinking budget may stand beside it."""
    assert parse(max_tokens=0, thinking={"type": "enabled", "budget_tokens": 1024}).max_tokens == 0


def test_a_name_of_a_model_may_have_256_characters(parse: Callable[..., MessagesRequest]) -> None:
    assert len(parse(model="m" * 256).model) == 256


def test_integers_serve_as_numbers(parse: Callable[..., MessagesRequest]) -> None:
    assert parse(temperature=1).temperature == 1.0


def test_calls_without_results_and_results_without_calls_are_accepted(parse: Callable[..., MessagesRequest]) -> None:
    """Ours: Claude Code compacts, and cuts pairs apart."""
    call = {"type": "tool_use", "id": "a", "name": "gone", "input": {}}
    request = parse(
        messages=[
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "lost"}]},
            {"role": "assistant", "content": [call]},
            {"role": "assistant", "content": "And then?"},
        ]
    )
    assert len(request.messages) == 3


@pytest.mark.parametrize(
    ("thinking", "shown"),
    [
        (None, True),
        ({"type": "disabled"}, True),
        ({"type": "between_tools"}, True),
        ({"type": "adaptive"}, True),
        ({"type": "adaptive", "display": "omitted"}, False),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, False),
        ({"type": "enabled", "budget_tokens": 1024, "display": "summarized"}, True),
    ],
)
def test_reasoning_is_shown_unless_the_client_says_omitted(
    parse: Callable[..., MessagesRequest], thinking: dict[str, Any] | None, *, shown: bool
) -> None:
    assert parse(max_tokens=2000, thinking=thinking).shows_thinking is shown


@given(data=st.data())
def test_a_damaged_request_is_served_or_refused_and_never_an_accident(data: st.DataObject) -> None:
    """Any exception but `RequestError` would be a 500 for something that the client did."""
    raw = orjson.dumps(data.draw(_damaged(EVERYTHING)))
    for parser in (parse_messages_request, parse_count_tokens_request):
        assert _status(parser, raw) in (200, 400)


def _status(parser: Callable[[bytes], CountTokensRequest], raw: bytes) -> int:
    try:
        request = parser(raw)
        to_generation_request(request, request_id=RequestId("r"), model=ModelId("m"), origin=Origin())
    except RequestError as error:
        return error.error.status
    return 200


@st.composite
def _damaged(draw: st.DrawFn, value: Any) -> Any:
    """Replace, remove or add something at one place of `value`, chosen by walking down."""
    if isinstance(value, dict) and value and draw(st.booleans() | st.just(value=True)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 9)) == 0:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: draw(_damaged(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(_damaged(value[index])), *value[index + 1 :]]
    return draw(JSON)

"""What is wrong with a request is said with its place: `messages.0.content.1.text: field required`.

Each row is a change of one valid request, and the exact message of its 400. The rules are those of the official SDK's
parameter types; the wordings are ours.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from pensieve_protocol import (
    ApiError,
    RequestError,
    Terms,
    parse_count_tokens_request,
    parse_messages_request,
)

BLOCKS = (
    "'text', 'image', 'document', 'search_result', 'thinking', 'redacted_thinking', 'tool_use', 'tool_result', "
    "'tool_reference'"
)
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def user(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


def image(**source: Any) -> dict[str, Any]:
    return user({"type": "image", "source": source})


def document(**source: Any) -> dict[str, Any]:
    return user({"type": "document", "source": source})


def result(*content: Any) -> dict[str, Any]:
    return user({"type": "tool_result", "tool_use_id": "t", "content": list(content)})


def tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{**TOOL, **fields}]}


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"model": ...}, "model: field required"),
    ({"model": 3}, "model: expected a string, got an integer"),
    ({"model": ""}, "model: must not be empty"),
    ({"model": "m" * 257}, "model: must not be longer than 256, got 257"),
    ({"max_tokens": ...}, "max_tokens: field required"),
    ({"max_tokens": None}, "max_tokens: expected an integer, got null"),
    ({"max_tokens": -1}, "max_tokens: must be at least 0, got -1"),
    ({"max_tokens": "100"}, "max_tokens: expected an integer, got a string"),
    ({"max_tokens": 2**63}, "max_tokens: expected an integer of at most 9223372036854775807, got 9223372036854775808"),
    ({"max_tokens": 100.0}, "max_tokens: expected an integer, got a number"),
    ({"max_tokens": True}, "max_tokens: expected an integer, got a boolean"),
    ({"messages": ...}, "messages: field required"),
    ({"messages": []}, "messages: must not be empty"),
    ({"messages": "Hi"}, "messages: expected an array, got a string"),
    ({"messages": {"role": "user"}}, "messages: expected an array, got an object"),
    ({"messages": ["Hi"]}, "messages.0: expected an object, got a string"),
    ({"messages": [{"content": "Hi"}]}, "messages.0.role: field required"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: field required"),
    (
        {"messages": [{"role": "tool", "content": "Hi"}]},
        "messages.0.role: expected one of 'user', 'assistant', 'system', got 'tool'",
    ),
    (
        {"messages": [{"role": ["user"], "content": "Hi"}]},
        "messages.0.role: expected one of 'user', 'assistant', 'system', got an array",
    ),
    (
        {"messages": [{"role": "user", "content": 3}]},
        "messages.0.content: expected a string or an array, got an integer",
    ),
    (user("Hi"), "messages.0.content.0: expected an object, got a string"),
    (user({"text": "Hi"}), "messages.0.content.0.type: field required"),
    (user({"type": 3}), "messages.0.content.0.type: expected a string, got an integer"),
    (user({"type": "text", "text": "a"}, {"type": "text"}), "messages.0.content.1.text: field required"),
    (user({"type": "text", "text": None}), "messages.0.content.0.text: expected a string, got null"),
    (user({"type": "audio"}), f"messages.0.content.0.type: expected one of {BLOCKS}, got 'audio'"),
    (user({"type": "a" * 999}), f"messages.0.content.0.type: expected one of {BLOCKS}, got '{'a' * 79}"),
    (
        user({"type": "text", "text": "a", "cache_control": "ephemeral"}),
        "messages.0.content.0.cache_control: expected an object, got a string",
    ),
    (
        user({"type": "text", "text": "a", "cache_control": {"type": "forever"}}),
        "messages.0.content.0.cache_control.type: expected 'ephemeral', got 'forever'",
    ),
    (
        user({"type": "container_upload", "file_id": "f"}),
        "messages.0.content.0: container_upload blocks need a code execution container, and there is none here",
    ),
    (
        user({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        "messages.0.content.0.type: tool_use blocks cannot be in user messages",
    ),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]}]},
        "messages.0.content.0.input: expected an object, got a string",
    ),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
        "messages.0.content.0.type: tool_result blocks cannot be in assistant messages",
    ),
    (
        {"messages": [{"role": "system", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
        "messages.0.content.0.type: tool_result blocks cannot be in system messages",
    ),
    (result({"type": "text"}), "messages.0.content.0.content.0.text: field required"),
    (
        result({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        (
            "messages.0.content.0.content.0.type: expected one of 'text', 'image', 'document', 'search_result', "
            "'tool_reference', got 'tool_use'"
        ),
    ),
    (user({"type": "tool_result"}), "messages.0.content.0.tool_use_id: field required"),
    (
        user({"type": "tool_result", "tool_use_id": "t", "is_error": "false"}),
        "messages.0.content.0.is_error: expected a boolean, got a string",
    ),
    (
        image(type="url", url="https://example.com/a.png"),
        "messages.0.content.0.source: url sources are not fetched by this server; send the data itself",
    ),
    (
        image(type="file", file_id=""),
        "messages.0.content.0.source.file_id: must not be empty",
    ),
    (
        image(type="base64", media_type="image/bmp", data="aGk="),
        (
            "messages.0.content.0.source.media_type: expected one of 'image/jpeg', 'image/png', 'image/gif', "
            "'image/webp', got 'image/bmp'"
        ),
    ),
    (image(type="base64", media_type="image/png", data="%"), "messages.0.content.0.source.data: expected base64"),
    (image(type="base64", media_type="image/png", data="ä"), "messages.0.content.0.source.data: expected base64"),
    (image(type="base64", media_type="image/png", data=""), "messages.0.content.0.source.data: image cannot be empty"),
    (
        image(type="base64", media_type="image/png", data=3),
        "messages.0.content.0.source.data: expected a string, got an integer",
    ),
    (
        document(type="url", url="https://example.com/a.pdf"),
        "messages.0.content.0.source: url sources are not fetched by this server; send the data itself",
    ),
    (
        document(type="tape"),
        "messages.0.content.0.source.type: expected one of 'text', 'content', 'base64', 'file', got 'tape'",
    ),
    ({"system": 3}, "system: expected a string or an array, got an integer"),
    ({"system": [{"type": "image"}]}, "system.0.type: expected 'text', got 'image'; system.0.text: field required"),
    ({"stream": "true"}, "stream: expected a boolean, got a string"),
    ({"temperature": -0.1}, "temperature: must be at least 0, got -0.1"),
    ({"temperature": "hot"}, "temperature: expected a number, got a string"),
    ({"temperature": False}, "temperature: expected a number, got a boolean"),
    ({"top_p": 1.5}, "top_p: must be from 0 to 1, got 1.5"),
    ({"top_k": -1}, "top_k: must be at least 0, got -1"),
    ({"stop_sequences": "END"}, "stop_sequences: expected an array, got a string"),
    ({"stop_sequences": ["a", ""]}, "stop_sequences.1: must not be empty"),
    ({"tools": [3]}, "tools.0: expected an object, got an integer"),
    ({"tools": [{"input_schema": {}}]}, "tools.0.name: field required"),
    ({"tools": [{"name": "f"}]}, "tools.0.input_schema: field required"),
    (tool(name="a b"), "tools.0.name: must match [a-zA-Z0-9_-]{1,128}, got 'a b'"),
    (tool(input_schema={"type": "array"}), "tools.0.input_schema.type: expected 'object'"),
    (tool(type=3), "tools.0.type: expected a string, got an integer"),
    (
        tool(type="laser_20260101"),
        (
            "tools.0.type: expected one of 'custom', 'bash_*', 'text_editor_*', 'memory_*', 'tool_search_tool_*', "
            "got 'laser_20260101'"
        ),
    ),
    *[
        (tool(type=name), f"tools.0: the tool {name!r} would run on the server, and this server does not run it")
        for name in (
            "web_search_20250305",
            "web_fetch_20260209",
            "code_execution_20250825",
            "computer_20251124",
            "browser_toolset_20260801",
            "mcp_toolset",
        )
    ],
    ({"tools": [TOOL, TOOL]}, "tools.1.name: tool names must be unique, got 'f' again"),
    ({"tool_choice": "auto"}, "tool_choice: expected an object, got a string"),
    (
        {"tool_choice": {"type": "some"}},
        "tool_choice.type: expected one of 'auto', 'any', 'tool', 'none', got 'some'",
    ),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name: field required"),
    ({"tool_choice": {"type": "tool", "name": "g"}, "tools": [TOOL]}, "tool_choice.name: no tool is named 'g'"),
    (
        {
            "tool_choice": {"type": "tool", "name": "search"},
            "tools": [{"type": "tool_search_tool_bm25", "name": "search"}],
        },
        "tool_choice.name: no tool is named 'search'",
    ),
    (
        {
            "tool_choice": {"type": "tool", "name": "f"},
            "tools": [{"name": "f", "input_schema": {}, "defer_loading": True}],
        },
        "tool_choice.name: the tool 'f' is deferred, and no tool_reference names it",
    ),
    (
        {"tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]},
        "tool_choice: needs at least one tool in tools",
    ),
    ({"tool_choice": {"type": "any"}}, "tool_choice: needs at least one tool in tools"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1}},
        "thinking.budget_tokens: must be at least 1024, got 1",
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000},
        "thinking.budget_tokens: must be less than max_tokens (2000), got 2000",
    ),
    (
        {"thinking": {"type": "hard"}},
        "thinking.type: expected one of 'enabled', 'adaptive', 'disabled', 'between_tools', got 'hard'",
    ),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: field required"),
    ({"metadata": {"user_id": 3}}, "metadata.user_id: expected a string, got an integer"),
    ({"container": "c"}, "container: this server has no code execution containers"),
    ({"container": {"skills": []}}, "container: this server has no code execution containers"),
    (
        {"mcp_servers": [{"type": "url"}]},
        "mcp_servers: this server connects to no MCP servers; let the client do it",
    ),
]


@pytest.mark.parametrize(("fields", "message"), MALFORMED, ids=[message[:60] for _, message in MALFORMED])
def test_the_message_names_the_place(body: Callable[..., bytes], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_messages_request(body(**fields))
    assert caught.value.error == ApiError(status=400, type="invalid_request_error", message=message)
    assert str(caught.value) == message


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_thread_is_refused_by_the_code_that_makes_sdks_send_all(
    body: Callable[..., bytes], thread: dict[str, str]
) -> None:
    """The SDK's `thread_unsupported_request_error_details.py`: "Send the full conversation without `thread`"."""
    with pytest.raises(RequestError, match="this server keeps no conversations") as caught:
        parse_messages_request(body(thread=thread))
    assert (caught.value.error.status, caught.value.error.code) == (400, "thread_unsupported_request")


def test_several_problems_come_in_the_order_of_the_fields_and_the_rest_is_counted(body: Callable[..., bytes]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_messages_request(body(model=1, messages=[{}], max_tokens=-5, stream=2))
    assert caught.value.error.message == (
        "model: expected a string, got an integer; messages.0.role: field required; "
        "messages.0.content: field required (and 2 more)"
    )


@pytest.mark.parametrize("raw", [b"", b"nonsense", b'{"model":'])
def test_a_body_that_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError, match="the body is not valid JSON"):
        parse_messages_request(raw)


@pytest.mark.parametrize(("raw", "what"), [(b"[]", "an array"), (b"null", "null"), (b"1.5", "a number")])
def test_a_body_that_is_no_object_is_refused(raw: bytes, what: str) -> None:
    with pytest.raises(RequestError, match=f"^expected an object, got {what}$"):
        parse_messages_request(raw)


def test_an_image_beyond_the_size_of_any_request_is_refused(body: Callable[..., bytes]) -> None:
    data = base64.b64encode(bytes(32 * 2**20 + 1)).decode()
    with pytest.raises(RequestError, match=r"source\.data: image exceeds the maximum of 33554432 bytes: got 33554433"):
        parse_messages_request(body(**image(type="base64", media_type="image/png", data=data)))


def test_counting_tokens_needs_no_max_tokens_but_the_rest(body: Callable[..., bytes]) -> None:
    assert parse_count_tokens_request(body(max_tokens=...)).model == "m"
    with pytest.raises(RequestError, match="messages: must not be empty"):
        parse_count_tokens_request(body(messages=[]))


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21"])
def test_known_versions_and_none_are_accepted(body: Callable[..., bytes], version: str | None) -> None:
    assert parse_messages_request(body(temperature=0.5), Terms(version=version)).temperature == 0.5


@pytest.mark.parametrize("version", ["", "2023-01-01", "latest"])
def test_an_unknown_version_is_refused(body: Callable[..., bytes], version: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_messages_request(body(), Terms(version=version))
    assert caught.value.error.message == (
        f"anthropic-version: {version!r} is not known; use one of 2023-06-01, 2026-10-21"
    )


@pytest.mark.parametrize("content", ["The answer is ", [{"type": "text", "text": "The answer is\n"}], "\u00a0"])
def test_what_the_model_is_to_go_on_from_cannot_end_in_white_space(body: Callable[..., bytes], content: Any) -> None:
    """The API: "final assistant content cannot end with trailing whitespace"."""
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    with pytest.raises(RequestError) as caught:
        parse_messages_request(body(messages=messages))
    message = "messages.1.content: final assistant content cannot end with trailing whitespace"
    assert caught.value.error.message == message
    parse_messages_request(body(messages=[*messages, {"role": "user", "content": "Go on"}]))


def test_a_strict_server_refuses_what_it_does_not_know(body: Callable[..., bytes]) -> None:
    """Design 3: "unknown field, unknown beta: ignored, logged once; `strict` refuses"."""
    terms = Terms(betas=("context-management-2025-06-27", "brand-new-2030-01-01"), strict=True)
    with pytest.raises(RequestError) as caught:
        parse_messages_request(body(brand_new=1, service_tier="auto"), terms)
    assert caught.value.error.message == (
        "anthropic-beta: 'brand-new-2030-01-01' is not known, and this server is strict; "
        "brand_new: there is no such field, and this server is strict"
    )
    assert parse_messages_request(body(service_tier="auto"), Terms(strict=True)).unknown_fields == ()


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_a_strict_server_refuses_sampling_where_the_version_has_none(body: Callable[..., bytes], field: str) -> None:
    """Anthropic's API of 2026-10-21 has no sampling fields; null is as good as left out."""
    new = Terms(version="2026-10-21", strict=True)
    with pytest.raises(RequestError, match=f"^{field}: is no field of anthropic-version 2026-10-21"):
        parse_messages_request(body(**{field: 1}), new)
    parse_messages_request(body(**{field: None}), new)
    parse_messages_request(body(**{field: 1}), Terms(version="2023-06-01", strict=True))


def test_between_tools_reasoning_has_a_budget_of_its_own(body: Callable[..., bytes]) -> None:
    """The beta interleaved-thinking-2025-05-14: there `budget_tokens` may exceed `max_tokens`, with tools."""
    beta = Terms(betas=("interleaved-thinking-2025-05-14",))
    large = {"thinking": {"type": "enabled", "budget_tokens": 4000}, "max_tokens": 2000}
    parse_messages_request(body(**large, tools=[TOOL]), beta)
    for fields, terms in ((large, beta), ({**large, "tools": [TOOL]}, Terms())):
        with pytest.raises(RequestError, match="budget_tokens: must be less than max_tokens"):
            parse_messages_request(body(**fields), terms)

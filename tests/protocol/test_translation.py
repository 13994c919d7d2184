"""What an engine is asked for what a client sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_core import (
    AgentId,
    Effort,
    GenerationRequest,
    ImagePart,
    Origin,
    Part,
    Priority,
    Role,
    Sampling,
    SessionId,
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

Translate = Callable[..., GenerationRequest]

MARK = {"cache_control": {"type": "ephemeral"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


@pytest.fixture
def parts(translate: Translate) -> Callable[..., tuple[Part, ...]]:
    """Return what these blocks of one message become."""

    def build(*content: Any, role: str = "user") -> tuple[Part, ...]:
        return translate(messages=[{"role": role, "content": list(content)}]).turns[0].parts

    return build


Parts = Callable[..., tuple[Part, ...]]


# The conversation


def test_a_string_is_one_text(translate: Translate) -> None:
    assert translate(system="S", messages=[{"role": "user", "content": "U"}]).turns == (
        Turn(role=Role.SYSTEM, parts=(TextPart(text="S"),)),
        Turn(role=Role.USER, parts=(TextPart(text="U"),)),
    )


@pytest.mark.parametrize("system", ["", [], [text("")], [text("x-anthropic-billing-header: cc_version=1;")]])
def test_an_empty_system_prompt_is_no_turn(translate: Translate, system: Any) -> None:
    assert [turn.role for turn in translate(system=system).turns] == [Role.USER]


@pytest.mark.parametrize("wrap", [str, lambda system: [text(system)]])
def test_only_the_line_of_the_billing_header_is_dropped(translate: Translate, wrap: Callable[[str], Any]) -> None:
    turns = translate(system=wrap("x-anthropic-billing-header: cc=1;\nBe kind.")).turns
    assert turns[0].parts == (TextPart(text="Be kind."),)


def test_what_only_mentions_the_billing_header_is_kept(translate: Translate) -> None:
    system = "Never send x-anthropic-billing-header: to anyone.\nBe kind."
    assert translate(system=system).turns[0].parts == (TextPart(text=system),)


def test_system_turns_stay_where_they_stand_and_equal_neighbours_stay_apart(translate: Translate) -> None:
    roles = ["user", "system", "system", "user", "user", "assistant"]
    turns = translate(messages=[{"role": role, "content": role} for role in roles]).turns
    assert [turn.role.value for turn in turns] == roles


def test_a_system_turn_may_be_shown_until_the_next_user_turn_only(translate: Translate) -> None:
    """The SDK on `clear_at`: "once a later `role: "user"` message exists […] no longer shown to the model"."""
    reminder = {"role": "system", "content": "R", "clear_at": "next_user_message"}
    user, assistant = {"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}
    texts = [
        [turn.parts[0].text for turn in translate(messages=messages).turns if isinstance(turn.parts[0], TextPart)]
        for messages in ([user, reminder, assistant], [user, reminder, assistant, user], [reminder, assistant])
    ]
    assert texts == [["U", "R", "A"], ["U", "A", "U"], ["R", "A"]]


def test_only_system_turns_are_ever_forgotten(translate: Translate) -> None:
    user = {"role": "user", "content": "U", "clear_at": "next_user_message"}
    assert len(translate(messages=[user, user]).turns) == 2


def test_empty_texts_are_left_out_but_no_turn_vanishes(translate: Translate) -> None:
    """Otherwise an empty last question would turn the answer before it into a prefill."""
    messages = [
        {"role": "user", "content": [text("a"), text(""), text("b")]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": [text("")]},
    ]
    turns = translate(messages=messages).turns
    assert turns[0].parts == (TextPart(text="a"), TextPart(text="b"))
    assert turns[2] == Turn(role=Role.USER, parts=(TextPart(text=""),))


@pytest.mark.parametrize("content", ["", [], [text("")], [{"type": "tool_removal", **MARK}]])
def test_an_empty_system_message_is_no_turn(translate: Translate, content: Any) -> None:
    """Seen with Claude Code 2.1.330: it carries `output_config` alone (beta per-turn-control-2026-07-01)."""
    carrier = {"role": "system", "content": content, "output_config": {"effort": "medium"}}
    user = {"role": "user", "content": "U"}
    assert translate(messages=[user, carrier]) == translate(messages=[user])
    assert translate(messages=[carrier, user, carrier], **MARK) == translate(messages=[user], **MARK)
    assert translate(messages=[carrier], **MARK).turns == ()


def test_reasoning_comes_back_signed_and_redacted_reasoning_does_not(parts: Parts) -> None:
    assert parts(
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "thinking", "thinking": "", "signature": "of an omitted one"},
        {"type": "redacted_thinking", "data": "secret"},
        text("Yes"),
        role="assistant",
    ) == (ThinkingPart(text="hm", signature="sig"), TextPart(text="Yes"))


def test_tool_calls_and_results_keep_their_ids(parts: Parts) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": [1, None]}}
    assert parts(call, role="assistant") == (ToolCallPart(id=ToolCallId("t1"), name="f", arguments={"x": [1, None]}),)
    result = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "boom"}
    assert parts(result) == (ToolResultPart(call_id=ToolCallId("t1"), content=(TextPart(text="boom"),), is_error=True),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, ()),
        ({"content": ""}, ()),
        ({"content": []}, ()),
        ({"content": None}, ()),
        ({"content": [text("")]}, ()),
        ({"content": [text("a", **MARK), PNG]}, (
            TextPart(text="a", cache_mark=True), ImagePart(media_type="image/png", data=b"png"),
        )),
        ({"content": [{"type": "tool_reference", "tool_name": "f", **MARK}]}, (
            ToolReferencePart(name="f", cache_mark=True),
        )),
    ],
)  # fmt: skip
def test_the_content_of_a_result_may_have_any_form(
    parts: Parts, content: dict[str, Any], expected: tuple[Part, ...]
) -> None:
    (part,) = parts({"type": "tool_result", "tool_use_id": "t", **content})
    assert isinstance(part, ToolResultPart)
    assert part.content == expected


def test_images_are_decoded_from_base64_and_no_further(parts: Parts) -> None:
    assert parts(PNG) == (ImagePart(media_type="image/png", data=b"png"),)


# What becomes text


def test_a_document_stands_between_tags_after_its_title_and_context(parts: Parts) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Body"}
    texts = _texts(parts({"type": "document", "source": source, "title": "T", "context": "C"}))
    assert "".join(texts) == "<document>\n<title>T</title>\n<context>C</context>\nBody\n</document>"


@pytest.mark.parametrize("content", ["Body", [text("Body")]])
def test_a_document_may_be_made_of_blocks(parts: Parts, content: Any) -> None:
    texts = _texts(parts({"type": "document", "source": {"type": "content", "content": content}}))
    assert "".join(texts) == "<document>\nBody\n</document>"


def test_the_images_of_a_document_stay_images(parts: Parts) -> None:
    source = {"type": "content", "content": [text("a"), PNG]}
    kinds = [part.type for part in parts({"type": "document", "source": source})]
    assert kinds == ["text", "text", "image", "text"]


def test_the_model_is_told_of_a_pdf_that_it_cannot_read(parts: Parts) -> None:
    """Ours: a 400 would end a Claude Code session that has read one PDF."""
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    texts = _texts(parts({"type": "document", "source": source, "title": "a.pdf"}))
    assert "a.pdf" in texts[0]
    assert "could not be read" in texts[1]


def test_a_search_result_shows_source_title_and_texts(parts: Parts) -> None:
    block = {"type": "search_result", "source": "S", "title": "T", "content": [text("a"), text("b")]}
    (part,) = _texts(parts(block))
    assert part == "<search_result>\n<source>S</source>\n<title>T</title>\na\nb\n</search_result>"


@pytest.mark.parametrize("kind", ["web_search_tool_result", "server_tool_use", "some_future_tool_result"])
def test_what_anthropics_servers_produced_is_shown_as_json(parts: Parts, kind: str) -> None:
    (part,) = _texts(parts({"type": kind, "id": "x", "cache_control": None, "input": {"q": "π"}}, role="assistant"))
    assert part == f'<{kind}>\n{{"id":"x","input":{{"q":"π"}}}}\n</{kind}>'


@pytest.mark.parametrize("kind", ["fallback", "tool_addition", "tool_removal", "mcp_tool_listing"])
def test_directives_to_anthropics_servers_are_not_shown(parts: Parts, kind: str) -> None:
    assert parts({"type": kind, "tool": {"name": "f"}}, text("a"), role="assistant") == (TextPart(text="a"),)


@pytest.mark.parametrize(("content", "shown"), [("Summary.", ["Summary."]), (None, [""])])
def test_a_compaction_is_its_summary(parts: Parts, content: str | None, shown: list[str]) -> None:
    assert _texts(parts({"type": "compaction", "content": content}, role="assistant")) == shown


# Cache marks


def test_a_mark_goes_to_the_last_part_of_its_block(parts: Parts) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Body"}
    marks = [_mark(part) for part in parts(text("a", **MARK), {"type": "document", "source": source, **MARK}, PNG)]
    assert marks == [True, False, False, True, False]


def test_the_mark_of_an_empty_block_goes_to_what_stands_before_it(parts: Parts) -> None:
    thinking = {"type": "thinking", "thinking": "hm"}
    assert [_mark(part) for part in parts(text("a"), thinking, text("", **MARK), role="assistant")] == [True, None]
    assert [_mark(part) for part in parts(thinking, text("", **MARK), role="assistant")] == [None]


def test_calls_results_images_and_tools_can_be_marked(parts: Parts, translate: Translate) -> None:
    assert parts({"type": "tool_use", "id": "t", "name": "f", "input": {}, **MARK}, role="assistant")[0] == (
        ToolCallPart(id=ToolCallId("t"), name="f", arguments={}, cache_mark=True)
    )
    assert _mark(parts({"type": "tool_result", "tool_use_id": "t", **MARK})[0])
    assert _mark(parts({**PNG, **MARK})[0])
    assert translate(tools=[{**TOOL, **MARK}]).tools[0].cache_mark


def test_a_mark_of_the_request_goes_to_the_last_part_of_all(translate: Translate) -> None:
    request = translate(system="S", messages=[{"role": "user", "content": [text("a"), text("b")]}], **MARK)
    assert [_mark(part) for turn in request.turns for part in turn.parts] == [False, False, True]


# Tools


def test_a_custom_tool_is_carried_with_its_examples(translate: Translate) -> None:
    tool = {**TOOL, "type": "custom", "description": "D", "strict": True, "input_examples": [{"x": 1}, {"x": 2}]}
    assert translate(tools=[tool]).tools == (
        Tool(
            name="f",
            description='D\n\nExamples of its input:\n{"x":1}\n{"x":2}',
            parameters={"type": "object"},
            strict=True,
        ),
    )


def test_examples_stand_alone_where_there_is_no_description(translate: Translate) -> None:
    (tool,) = translate(tools=[{**TOOL, "input_examples": [{"x": 1}]}]).tools
    assert tool.description == 'Examples of its input:\n{"x":1}'


@pytest.mark.parametrize(
    ("tool_type", "name", "properties"),
    [
        ("bash_20250124", "bash", {"command", "restart"}),
        ("bash_20241022", "bash", {"command", "restart"}),
        (
            "text_editor_20250728",
            "str_replace_based_edit_tool",
            {"command", "path", "view_range", "file_text", "old_str", "new_str", "insert_line", "insert_text"},
        ),
        (
            "memory_20250818",
            "memory",
            {
                "command", "path", "view_range", "file_text", "old_str", "new_str", "insert_line", "insert_text",
                "old_path", "new_path",
            },
        ),
    ],
)  # fmt: skip
def test_typed_client_tools_are_spelled_out(
    translate: Translate, tool_type: str, name: str, properties: set[str]
) -> None:
    (tool,) = translate(tools=[{"type": tool_type, "name": name, **MARK}]).tools
    assert (tool.name, tool.cache_mark) == (name, True)
    assert tool.description
    assert tool.parameters["type"] == "object"
    assert set(tool.parameters["properties"]) == properties  # type: ignore[call-overload]
    assert set(tool.parameters["required"]) <= properties  # type: ignore[call-overload]


DEFERRED = {**TOOL, "defer_loading": True}
REFERENCE = {"type": "tool_reference", "tool_name": "f"}


def test_a_deferred_tool_that_nothing_refers_to_is_left_out(translate: Translate) -> None:
    """Seen with Claude Code 2.1.330: `DeferredToolPlaceholder` is always there, and never to be called."""
    other = {**TOOL, "name": "g"}
    assert [tool.name for tool in translate(tools=[DEFERRED, other]).tools] == ["g"]
    assert [tool.name for tool in translate(tools=[{**DEFERRED, "defer_loading": False}, other]).tools] == ["f", "g"]


@pytest.mark.parametrize(
    ("role", "block"),
    [
        ("user", {"type": "tool_result", "tool_use_id": "t", "content": [text("Found:"), REFERENCE]}),
        ("user", REFERENCE),
        ("system", {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}),
    ],
)
def test_a_deferred_tool_can_be_called_once_it_is_referred_to(
    translate: Translate, role: str, block: dict[str, Any]
) -> None:
    """The SDK on `defer_loading`: "Only loaded when returned via tool_reference from tool search"."""
    messages = [{"role": "user", "content": "U"}, {"role": role, "content": [block]}]
    request = translate(messages=messages, tools=[DEFERRED], tool_choice={"type": "tool", "name": "f"})
    assert request.tools == (Tool(name="f", parameters={"type": "object"}, deferred=True),)
    (part,) = request.turns[1].parts
    parts = part.content if isinstance(part, ToolResultPart) else (part,)
    assert parts[-1] == ToolReferencePart(name="f")


@pytest.mark.parametrize("block", [
    {"type": "tool_result", "tool_use_id": "t", "content": "f"},
    {"type": "tool_result", "tool_use_id": "t", "content": [{**REFERENCE, "tool_name": "g"}]},
    {"type": "tool_addition", "tool": {"type": "mcp_tool_reference", "name": "f"}},
    {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}},
    text("f"),
])  # fmt: skip
def test_nothing_else_refers_to_a_deferred_tool(translate: Translate, block: dict[str, Any]) -> None:
    assert translate(messages=[{"role": "user", "content": [block]}], tools=[DEFERRED]).tools == ()


def test_tools_known_by_their_type_can_be_deferred_too(translate: Translate) -> None:
    bash = {"type": "bash_20250124", "name": "bash", "defer_loading": True}
    found = [{"role": "user", "content": [{**REFERENCE, "tool_name": "bash"}]}]
    assert translate(tools=[bash]).tools == ()
    assert [tool.deferred for tool in translate(tools=[bash], messages=found).tools] == [True]


@pytest.mark.parametrize("kind", ["regex", "bm25"])
def test_search_by_the_server_is_offered_where_there_is_something_to_find(translate: Translate, kind: str) -> None:
    search = {"type": f"tool_search_tool_{kind}_20251119", "name": f"tool_search_tool_{kind}"}
    (offered,) = translate(tools=[search, DEFERRED]).tools
    assert offered.name == f"tool_search_tool_{kind}"
    assert offered.parameters["required"] == ["query"]
    assert translate(tools=[search, TOOL]).tools == translate(tools=[TOOL]).tools


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ({"type": "auto"}, ToolChoice()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(parallel=False)),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(mode=ToolChoiceMode.ANY, parallel=False)),
        ({"type": "tool", "name": "f"}, ToolChoice(mode=ToolChoiceMode.TOOL, name="f")),
        ({"type": "none"}, ToolChoice(mode=ToolChoiceMode.NONE)),
    ],
)
def test_tool_choice(translate: Translate, choice: dict[str, Any] | None, expected: ToolChoice) -> None:
    assert translate(tools=[TOOL], tool_choice=choice).tool_choice == expected


# Settings


@pytest.mark.parametrize(
    ("thinking", "effort", "expected"),
    [
        (None, "high", Thinking(effort=Effort.HIGH)),
        ({"type": "disabled"}, "max", Thinking(budget_tokens=0, effort=Effort.MAX)),
        ({"type": "between_tools"}, None, Thinking(budget_tokens=0)),
        (
            {"type": "enabled", "budget_tokens": 2048},
            "low",
            Thinking(enabled=True, budget_tokens=2048, effort=Effort.LOW),
        ),
        ({"type": "adaptive"}, None, Thinking(enabled=True, budget_tokens=8192)),
        ({"type": "adaptive"}, "extreme", Thinking(enabled=True, budget_tokens=8192)),
        ({"type": "adaptive"}, "low", Thinking(budget_tokens=0, effort=Effort.LOW)),
        ({"type": "adaptive"}, "medium", Thinking(enabled=True, budget_tokens=2048, effort=Effort.MEDIUM)),
        ({"type": "adaptive"}, "xhigh", Thinking(enabled=True, budget_tokens=16384, effort=Effort.XHIGH)),
        ({"type": "adaptive"}, "max", Thinking(enabled=True, budget_tokens=24000, effort=Effort.MAX)),
    ],
)
def test_thinking(translate: Translate, thinking: dict[str, Any], effort: str | None, expected: Thinking) -> None:
    request = translate(max_tokens=32000, thinking=thinking, output_config={"effort": effort})
    assert request.thinking == expected


def test_adaptive_thinking_leaves_room_for_the_answer(translate: Translate) -> None:
    adaptive = {"type": "adaptive"}
    assert translate(max_tokens=1000, thinking=adaptive).thinking == Thinking(enabled=True, budget_tokens=750)
    assert translate(max_tokens=0, thinking=adaptive).thinking.enabled


def test_sampling_is_carried_and_a_temperature_above_one_means_one(translate: Translate) -> None:
    """Anthropic's range ends at 1; clients made for others send up to 2."""
    assert translate(temperature=1.7, top_p=0.9, top_k=5).sampling == Sampling(temperature=1.0, top_p=0.9, top_k=5)
    assert translate(temperature=0).sampling == Sampling(temperature=0.0)
    assert translate().sampling == Sampling()


def test_limits_are_carried(translate: Translate) -> None:
    request = translate(max_tokens=7, stop_sequences=["a", "\n"])
    assert (request.max_tokens, request.stop_sequences) == (7, ("a", "\n"))


@pytest.mark.parametrize("place", ["output_format", "output_config"])
def test_a_schema_may_stand_in_its_old_or_its_new_place(translate: Translate, place: str) -> None:
    schema_format = {"type": "json_schema", "schema": {"type": "object"}}
    fields = {place: schema_format if place == "output_format" else {"format": schema_format}}
    assert translate(**fields).output_schema == {"type": "object"}


@pytest.mark.parametrize(
    ("fields", "origin", "expected"),
    [
        ({}, Origin(), Priority.MAIN),
        ({}, Origin(agent=AgentId("a")), Priority.AGENT),
        ({"max_tokens": 0}, Origin(), Priority.BACKGROUND),
        ({"max_tokens": 16}, Origin(agent=AgentId("a")), Priority.BACKGROUND),
        ({"max_tokens": 17}, Origin(), Priority.MAIN),
        ({"output_format": {"type": "json_schema", "schema": {}}}, Origin(), Priority.BACKGROUND),
        ({"output_format": {"type": "json_schema", "schema": {}}, "tools": [TOOL]}, Origin(), Priority.MAIN),
        ({"max_tokens": 0}, Origin(priority=Priority.AGENT), Priority.AGENT),
    ],
)
def test_who_goes_first(translate: Translate, fields: dict[str, Any], origin: Origin, expected: Priority) -> None:
    assert translate(origin, **fields).origin.priority is expected


def test_the_user_stands_in_for_a_missing_session_unrecognisably(translate: Translate) -> None:
    first, same, other = (
        translate(metadata={"user_id": user_id}).origin.session for user_id in ("alice@x", "alice@x", "bob@x")
    )
    assert first == same != other
    assert first is not None
    assert "alice" not in first
    named = translate(Origin(session=SessionId("s")), metadata={"user_id": "alice@x"})
    assert named.origin.session == "s"
    assert translate().origin.session is None


def _texts(parts: tuple[Part, ...]) -> list[str]:
    return [part.text for part in parts if isinstance(part, TextPart)]


def _mark(part: Part) -> bool | None:
    return None if isinstance(part, ThinkingPart) else part.cache_mark

"""Reasoning, effort, formats; edits to the context, diagnostics; what an answer is said to have cost."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.scripted_server import Json, ScriptedServer, Serve

from pensieve_core import FinishReason, GenerationFinished, ThinkingPart, Usage
from pensieve_inference.testing import InMemoryCatalog, make_descriptor, say, think

requirement = pytest.mark.requirement

ENABLED = {"type": "enabled", "budget_tokens": 1_024}
REASONED = [*think("Hm, let me see."), *say("Yes.")]
CLEAR_THINKING = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


@requirement("thinking:enabled")
async def test_reasoning_is_switched_on_with_a_budget(server: ScriptedServer) -> None:
    await server.ask(max_tokens=5_000, thinking={"type": "enabled", "budget_tokens": 2_048})
    assert (server.told.thinking.enabled, server.told.thinking.budget_tokens) == (True, 2_048)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        pytest.param(1_023, "must be at least 1024, got 1023", marks=requirement("thinking:enabled:minimum")),
        pytest.param(
            2_000,
            "must be less than max_tokens (2000), got 2000",
            marks=requirement("thinking:enabled:max_tokens"),
        ),
    ],
)
async def test_a_budget_has_its_bounds(server: ScriptedServer, budget: int, said: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    assert (await server.refusal(max_tokens=2_000, thinking=thinking)).endswith(f"budget_tokens: {said}")


@pytest.mark.parametrize(
    ("kind", "enabled"),
    [
        pytest.param("adaptive", True, marks=requirement("thinking:adaptive")),
        pytest.param("disabled", False, marks=requirement("thinking:disabled")),
        pytest.param("between_tools", False, marks=requirement("thinking:between_tools")),
    ],
)
async def test_each_kind_of_thinking_says_whether_to_reason(server: ScriptedServer, kind: str, enabled: bool) -> None:  # noqa: FBT001 - a row of the table
    await server.ask(thinking={"type": kind})
    assert server.told.thinking.enabled is enabled


@pytest.mark.parametrize(
    ("display", "shown"),
    [
        pytest.param("summarized", "Hm, let me see.", marks=requirement("thinking:display:summarized")),
        pytest.param("omitted", "", marks=requirement("thinking:display:omitted")),
    ],
)
async def test_reasoning_is_shown_or_only_signed(serve: Serve, display: str, shown: str) -> None:
    server = await serve(REASONED)
    message = await server.ask(max_tokens=2_000, thinking={**ENABLED, "display": display})
    assert message["content"][0]["thinking"] == shown
    assert message["content"][0]["signature"]


@requirement("thinking:signature")
async def test_reasoning_can_be_sent_back_as_it_came(serve: Serve) -> None:
    server = await serve(REASONED)
    fields: Json = {"max_tokens": 2_000, "thinking": ENABLED}
    first = await server.ask(**fields)
    spoken = [
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": "Sure?"},
    ]
    await server.ask(messages=spoken, **fields)
    assert server.parts()[1].type == "thinking"


@requirement("thinking:signature:own")
async def test_what_is_signed_here_is_known_again_and_what_is_changed_is_not(serve: Serve) -> None:
    server = await serve(REASONED)
    fields: Json = {"max_tokens": 2_000, "thinking": ENABLED}
    reasoning, said = (await server.ask(**fields))["content"]
    for text, foreign in ((reasoning["thinking"], None), ("Something else.", 1)):
        content = [{**reasoning, "thinking": text}, said]
        spoken = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": content}]
        answer = await server.ask(messages=[*spoken, {"role": "user", "content": "Sure?"}], **fields)
        assert (await server.line_of(answer)).get("foreign_thinking") == foreign


@requirement("thinking:display:omitted", "thinking:signature:own")
async def test_reasoning_that_was_not_shown_comes_back_in_its_signature(serve: Serve) -> None:
    server = await serve(REASONED)
    fields: Json = {"max_tokens": 2_000, "thinking": {**ENABLED, "display": "omitted"}}
    content = (await server.ask(**fields))["content"]
    spoken = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": content}]
    await server.ask(messages=[*spoken, {"role": "user", "content": "Sure?"}], **fields)
    part = server.parts()[1]
    assert isinstance(part, ThinkingPart)
    assert part.text == "Hm, let me see."


@requirement("thinking:usage", "usage:output")
async def test_the_usage_says_how_much_was_reasoning(serve: Serve) -> None:
    usage = Usage(prompt_tokens=2, generated_tokens=9, thinking_tokens=6)
    server = await serve([*REASONED, GenerationFinished(reason=FinishReason.END_OF_TURN, usage=usage)])
    told = (await server.ask(max_tokens=2_000, thinking=ENABLED))["usage"]
    assert (told["output_tokens"], told["output_tokens_details"]) == (9, {"thinking_tokens": 6})


@pytest.mark.parametrize(
    ("effort", "reasons"),
    [
        pytest.param("low", False, marks=requirement("effort:low")),
        pytest.param("medium", True, marks=requirement("effort:medium")),
        pytest.param("high", True, marks=requirement("effort:high")),
        pytest.param("xhigh", True, marks=requirement("effort:xhigh")),
        pytest.param("max", True, marks=requirement("effort:max")),
        pytest.param("to-come", True, marks=requirement("effort:unknown")),
    ],
)
async def test_every_level_of_effort_is_accepted(server: ScriptedServer, effort: str, reasons: bool) -> None:  # noqa: FBT001 - a row of the table
    await server.ask(thinking={"type": "adaptive"}, output_config={"effort": effort})
    assert server.told.thinking.enabled is reasons


@requirement("effort:budget")
async def test_effort_is_a_budget(server: ScriptedServer) -> None:
    budgets = []
    for effort in ("medium", "high", "xhigh"):
        await server.ask(max_tokens=64_000, thinking={"type": "adaptive"}, output_config={"effort": effort})
        budgets.append(server.told.thinking.budget_tokens or 0)
    assert 0 < budgets[0] < budgets[1] < budgets[2] < 64_000


@requirement("format:json_schema")
async def test_a_schema_reaches_the_engine(server: ScriptedServer) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": False}
    await server.ask(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert server.told.output_schema == schema


@requirement("edits:accepted", "diagnostics:accepted")
@pytest.mark.parametrize(
    "fields", [{"context_management": CLEAR_THINKING}, {"diagnostics": {"previous_message_id": None}}]
)
async def test_edits_and_diagnostics_never_make_a_request_fail(server: ScriptedServer, fields: Json) -> None:
    assert (await server.ask(**fields))["content"] == [{"type": "text", "text": "ok"}]


LONG: Json = {
    "messages": [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""},
                                          {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "old " * 50}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_2", "name": "ls", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_2", "content": "new"}]},
    ]
}  # fmt: skip


@requirement("edits:clear_tool_uses_20250919", "field:context_management", "edits:applied_edits")
async def test_old_results_are_cleared_and_the_answer_says_so(server: ScriptedServer) -> None:
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "tool_uses", "value": 1},
        "keep": {"type": "tool_uses", "value": 1},
    }
    message = await server.ask(**LONG, context_management={"edits": [edit]})
    (applied,) = message["context_management"]["applied_edits"]
    assert (applied["type"], applied["cleared_tool_uses"]) == ("clear_tool_uses_20250919", 1)
    assert "old old" not in repr(server.parts())


@requirement("edits:clear_thinking_20251015")
async def test_old_reasoning_is_cleared(server: ScriptedServer) -> None:
    spoken = [*LONG["messages"], {"role": "assistant", "content": "Done"}, {"role": "user", "content": "Thanks"}]
    edit = {"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 1}}
    thinking = {"type": "enabled", "budget_tokens": 1_024}
    again = [{"type": "thinking", "thinking": "Later.", "signature": ""}, {"type": "text", "text": "Done"}]
    spoken[-2] = {"role": "assistant", "content": again}
    await server.ask(messages=spoken, max_tokens=2_000, thinking=thinking, context_management={"edits": [edit]})
    assert "Hm." not in repr(server.parts())


@requirement("field:diagnostics", "diagnostics:previous_message_not_found")
async def test_an_earlier_answer_that_is_unknown_is_said_to_be(server: ScriptedServer) -> None:
    message = await server.ask(diagnostics={"previous_message_id": "msg_unknown"})
    assert message["diagnostics"]["cache_miss_reason"]["type"] == "previous_message_not_found"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"model": "org/coder"}, "model_changed", marks=requirement("diagnostics:model_changed")),
        pytest.param({"system": "Otherwise."}, "system_changed", marks=requirement("diagnostics:system_changed")),
        pytest.param(
            {"tools": [{"name": "ls", "input_schema": {"type": "object"}}]},
            "tools_changed",
            marks=requirement("diagnostics:tools_changed"),
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "Otherwise"}]},
            "messages_changed",
            marks=requirement("diagnostics:messages_changed"),
        ),
    ],
)
async def test_what_has_changed_is_named(serve: Serve, change: Json, reason: str) -> None:
    server = await serve(catalog=InMemoryCatalog(make_descriptor(), make_descriptor("org/coder")))
    fields: dict[str, Any] = {"system": "Be brief.", "tools": [], "diagnostics": {"previous_message_id": None}}
    first = await server.ask(**fields)
    changed = {**fields, **change, "diagnostics": {"previous_message_id": first["id"]}}
    assert (await server.ask(**changed))["diagnostics"]["cache_miss_reason"]["type"] == reason


def _cost(cached: int, created: int) -> GenerationFinished:
    usage = Usage(prompt_tokens=100, cached_tokens=cached, cache_created_tokens=created, generated_tokens=1)
    return GenerationFinished(reason=FinishReason.END_OF_TURN, usage=usage)


@requirement("usage:read", "usage:creation", "usage:unmarked", "usage:sum")
@pytest.mark.parametrize(
    ("cached", "created", "fresh"), [(0, 0, 100), (60, 0, 40), (60, 30, 10), (0, 100, 0), (100, 0, 0)]
)
async def test_each_token_of_the_prompt_is_in_one_of_three_figures(
    serve: Serve, cached: int, created: int, fresh: int
) -> None:
    server = await serve([*say("ok"), _cost(cached, created)])
    usage = (await server.ask())["usage"]
    told = (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], usage["input_tokens"])
    assert told == (cached, created, fresh)

"""Tools, and how free the model is in calling them."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.scripted_server import Json, ScriptedServer, Serve

from pensieve_core import ToolChoiceMode
from pensieve_inference.testing import call, say

requirement = pytest.mark.requirement

OBJECT = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
LS: Json = {"name": "ls", "description": "List files.", "input_schema": OBJECT}


@requirement("tool:custom", "tool:custom:cache_control", "tool:custom:strict")
async def test_a_tool_reaches_the_model_as_it_was_described(server: ScriptedServer) -> None:
    await server.ask(tools=[{**LS, "strict": True, "cache_control": {"type": "ephemeral"}}])
    (tool,) = server.told.tools
    assert (tool.name, tool.description, tool.parameters) == ("ls", "List files.", OBJECT)
    assert (tool.strict, tool.cache_mark) == (True, True)


@requirement("tool:custom:type")
@pytest.mark.parametrize("more", [{}, {"type": None}, {"type": "custom"}])
async def test_the_type_of_a_custom_tool_may_be_left_out(server: ScriptedServer, more: Json) -> None:
    await server.ask(tools=[{**LS, **more}])
    assert [tool.name for tool in server.told.tools] == ["ls"]


@requirement("tool:custom:name")
@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ([{**LS, "name": "a b"}], "tools.0.name: must match"),
        ([{**LS, "name": ""}], "tools.0.name: must match"),
        ([{**LS, "name": "x" * 129}], "tools.0.name: must match"),
        ([LS, LS], "tools.1.name: tool names must be unique"),
    ],
)
async def test_a_name_is_short_plain_and_unique(server: ScriptedServer, tools: list[Json], place: str) -> None:
    assert (await server.refusal(tools=tools)).startswith(place)


@requirement("tool:custom:input_schema")
@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ({"name": "ls"}, "tools.0.input_schema: field required"),
        ({"name": "ls", "input_schema": {"type": "string"}}, "tools.0.input_schema.type: expected 'object'"),
    ],
)
async def test_an_input_is_an_object(server: ScriptedServer, tool: Json, said: str) -> None:
    assert await server.refusal(tools=[tool]) == said


@requirement("tool:custom:input_examples")
async def test_examples_reach_the_model(server: ScriptedServer) -> None:
    await server.ask(tools=[{**LS, "input_examples": [{"path": "/home/anna"}]}])
    assert "/home/anna" in server.told.tools[0].description


@requirement("tool:custom:eager_input_streaming", "tool:custom:allowed_callers")
async def test_what_only_anthropics_servers_heed_is_accepted(server: ScriptedServer) -> None:
    await server.ask(tools=[{**LS, "eager_input_streaming": True, "allowed_callers": ["direct"]}])
    assert server.told.tools[0].parameters == OBJECT


@pytest.mark.parametrize(
    ("tool", "parameter"),
    [
        pytest.param({"type": "bash_20250124", "name": "bash"}, "command", marks=requirement("tool:bash")),
        pytest.param(
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            "old_str",
            marks=requirement("tool:text_editor"),
        ),
        pytest.param({"type": "memory_20250818", "name": "memory"}, "old_path", marks=requirement("tool:memory")),
    ],
)
async def test_a_tool_that_anthropic_has_typed_stands_for_its_schema(
    server: ScriptedServer, tool: Json, parameter: str
) -> None:
    await server.ask(tools=[tool])
    (spelled,) = server.told.tools
    properties: Any = spelled.parameters["properties"]
    assert (spelled.name, parameter in properties, bool(spelled.description)) == (tool["name"], True, True)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("computer_20250124", marks=requirement("tool:computer")),
        pytest.param("computer_toolset_20260801", marks=requirement("tool:computer")),
        pytest.param("browser_toolset_20260801", marks=requirement("tool:browser")),
        pytest.param("web_search_20260318", marks=requirement("tool:web_search")),
        pytest.param("web_fetch_20260318", marks=requirement("tool:web_fetch")),
        pytest.param("code_execution_20260521", marks=requirement("tool:code_execution")),
        pytest.param("advisor_20260301", marks=requirement("tool:advisor")),
        pytest.param("mcp_toolset", marks=requirement("tool:mcp_toolset")),
    ],
)
async def test_a_tool_that_does_not_run_here_is_refused_by_name(server: ScriptedServer, kind: str) -> None:
    said = await server.refusal(tools=[LS, {"type": kind, "name": "x"}])
    assert said.startswith(f"tools.1: the tool '{kind}' ")


@requirement("tool:tool_search:accepted")
@pytest.mark.parametrize("kind", ["tool_search_tool_bm25_20251119", "tool_search_tool_regex_20251119"])
async def test_a_search_tool_is_accepted(server: ScriptedServer, kind: str) -> None:
    await server.ask(tools=[{"type": kind, "name": kind.removesuffix("_20251119")}, LS])
    assert "ls" in [tool.name for tool in server.told.tools]


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        pytest.param("tool_search_tool_bm25", "list files", marks=requirement("tool:tool_search_tool_bm25")),
        pytest.param("tool_search_tool_regex", "^l", marks=requirement("tool:tool_search_tool_regex")),
    ],
)
async def test_the_server_searches_the_deferred_tools(serve: Serve, kind: str, query: str) -> None:
    parameter = "query" if kind.endswith("bm25") else "pattern"
    server = await serve(call(kind, {parameter: query}, "toolu_1"), say("Found."))
    tools = [{"type": f"{kind}_20251119", "name": kind}, {**LS, "defer_loading": True}]
    message = await server.ask(tools=tools)
    assert [block["type"] for block in message["content"]] == ["server_tool_use", "tool_search_tool_result", "text"]


@requirement("tool:unknown")
async def test_an_unknown_tool_is_told_the_known_ones(server: ScriptedServer) -> None:
    said = await server.refusal(tools=[{"type": "hologram_20260101", "name": "x"}])
    assert said.startswith("tools.0.type: expected one of 'custom', 'bash_*'")


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        pytest.param({"type": "auto"}, ToolChoiceMode.AUTO, marks=requirement("tool_choice:auto")),
        pytest.param({"type": "any"}, ToolChoiceMode.ANY, marks=requirement("tool_choice:any")),
        pytest.param({"type": "tool", "name": "ls"}, ToolChoiceMode.TOOL, marks=requirement("tool_choice:tool")),
        pytest.param({"type": "none"}, ToolChoiceMode.NONE, marks=requirement("tool_choice:none")),
    ],
)
async def test_a_choice_reaches_the_engine(server: ScriptedServer, choice: Json, mode: ToolChoiceMode) -> None:
    await server.ask(tools=[LS], tool_choice=choice)
    assert (server.told.tool_choice.mode, server.told.tool_choice.name) == (mode, choice.get("name"))


@requirement("tool_choice:tool:unknown")
@pytest.mark.parametrize("more", [{}, {"tools": [{**LS, "name": "rm", "defer_loading": True}]}])
async def test_a_tool_that_must_be_called_has_to_be_known(server: ScriptedServer, more: Json) -> None:
    said = await server.refusal(**{"tools": [LS], "tool_choice": {"type": "tool", "name": "rm"}, **more})
    assert said.startswith("tool_choice.name: ")
    assert "'rm'" in said


@requirement("tool_choice:disable_parallel_tool_use")
@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "ls"}])
async def test_parallel_calls_can_be_switched_off(server: ScriptedServer, choice: Json) -> None:
    await server.ask(tools=[LS], tool_choice={**choice, "disable_parallel_tool_use": True})
    assert not server.told.tool_choice.parallel
    await server.ask(tools=[LS], tool_choice=choice)
    assert server.told.tool_choice.parallel


@requirement("tool_choice:without-tools")
async def test_a_call_cannot_be_demanded_without_tools(server: ScriptedServer) -> None:
    assert await server.refusal(tool_choice={"type": "any"}) == "tool_choice: needs at least one tool in tools"


@requirement("tool:loop")
async def test_a_call_goes_out_and_its_result_comes_back(serve: Serve) -> None:
    server = await serve([*say("Let me look."), *call("ls", {"path": "/"}, "toolu_1")], say("One file."))
    asked = await server.ask(tools=[LS])
    assert asked["content"][1] == {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {"path": "/"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}
    spoken = [
        {"role": "user", "content": "Which files?"},
        {"role": "assistant", "content": asked["content"]},
        {"role": "user", "content": [result]},
    ]
    told = await server.ask(tools=[LS], messages=spoken)
    assert (told["content"][0]["text"], told["stop_reason"]) == ("One file.", "end_turn")

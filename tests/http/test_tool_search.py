"""Design 3: the model searches for tools, the server runs the search, and the answer goes on; as a client sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_core import (
    FinishReason,
    GenerationFinished,
    PromptTooLongError,
    Role,
    TextPart,
    ToolCallPart,
    ToolChoice,
    ToolReferencePart,
    ToolResultPart,
    Usage,
)
from pensieve_http.testing import build_world
from pensieve_inference.testing import Raise, Script, call, say, think

Body = Callable[..., dict[str, Any]]

SEARCH = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
WEATHER = {
    "name": "get_weather",
    "description": "Tell the weather.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
    "defer_loading": True,
}
TOOLS = [SEARCH, WEATHER, {**WEATHER, "name": "other", "description": "Something else."}]
FIND = call("tool_search_tool_regex", {"query": "weather"}, "toolu_1")


def finished(reason: FinishReason, **usage: int) -> GenerationFinished:
    return GenerationFinished(reason=reason, usage=Usage(**usage))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_search_runs_and_the_answer_goes_on(body: Body, *, stream: bool) -> None:
    """Each generation costs what it costs: the usage is that of all of them."""
    first = [
        *think("Hm."), *say("I look."), *FIND,
        finished(FinishReason.TOOL_CALLS, prompt_tokens=10, cached_tokens=2, generated_tokens=5, thinking_tokens=1),
    ]  # fmt: skip
    second = [
        *call("get_weather", {"place": "Rome"}, "toolu_2"),
        finished(FinishReason.TOOL_CALLS, prompt_tokens=20, cached_tokens=15, generated_tokens=4),
    ]
    world = build_world(first, second)
    reply = await world.client.post("/v1/messages", body(tools=TOOLS, stream=stream))
    if stream:
        opened = [e.data["content_block"] for e in reply.events() if e.name == "content_block_start"]
        kinds, usage = [block["type"] for block in opened], reply.events()[-2].data["usage"]
        result, stop = opened[3], reply.events()[-2].data["delta"]["stop_reason"]
    else:
        message = reply.json()
        kinds, usage = [block["type"] for block in message["content"]], message["usage"]
        result, stop = message["content"][3], message["stop_reason"]
        searched = message["content"][2]
        assert searched == {
            "type": "server_tool_use", "id": "srvtoolu_1", "name": "tool_search_tool_regex",
            "input": {"query": "weather"},
        }  # fmt: skip
    assert kinds == ["thinking", "text", "server_tool_use", "tool_search_tool_result", "tool_use"]
    assert stop == "tool_use"
    references = [{"type": "tool_reference", "tool_name": "get_weather"}]
    assert result == {
        "type": "tool_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "tool_search_tool_search_result", "tool_references": references},
    }
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (13, 17, 9)
    assert usage["output_tokens_details"] == {"thinking_tokens": 1}


async def test_what_was_found_is_loaded_and_nothing_else(body: Body) -> None:
    world = build_world([*say("I look."), *FIND], say("Sunny."))
    await world.client.post("/v1/messages", body(tools=TOOLS, max_tokens=50))
    first, second = world.engine.requests
    assert [tool.name for tool in first.tools] == ["tool_search_tool_regex"]
    assert [(tool.name, tool.deferred) for tool in second.tools[1:]] == [("get_weather", True)]
    assert second.turns[: len(first.turns)] == first.turns
    asked, found = second.turns[len(first.turns) :]
    assert asked.parts == (
        TextPart(text="I look."),
        ToolCallPart(id="toolu_1", name="tool_search_tool_regex", arguments={"query": "weather"}),  # type: ignore[arg-type]
    )
    assert found.parts == (ToolResultPart(call_id="toolu_1", content=(ToolReferencePart(name="get_weather"),)),)  # type: ignore[arg-type]
    assert second.max_tokens == 48


async def test_the_next_turn_has_the_prompt_that_this_one_had(body: Body) -> None:
    """Otherwise the cached prefix would end at the search."""
    world = build_world([*say("I look."), *FIND], call("get_weather", {}, "toolu_2"), say("Sunny."))
    first = await world.client.post("/v1/messages", body(tools=TOOLS))
    result = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "Sun"}
    messages = [
        *body()["messages"],
        {"role": "assistant", "content": first.json()["content"]},
        {"role": "user", "content": [result]},
    ]
    await world.client.post("/v1/messages", body(tools=TOOLS, messages=messages))
    before, after = world.engine.requests[1:]
    assert after.turns[: len(before.turns)] == before.turns
    assert [turn.role for turn in after.turns[len(before.turns) :]] == [Role.ASSISTANT, Role.USER]
    assert after.tools == before.tools


async def test_a_search_that_cannot_be_made_is_an_error_result(body: Body) -> None:
    world = build_world(call("tool_search_tool_regex", {"query": "("}), say("Never mind."))
    reply = await world.client.post("/v1/messages", body(tools=TOOLS))
    _, result, text = reply.json()["content"]
    assert (result["content"]["type"], result["content"]["error_code"]) == (
        "tool_search_tool_result_error",
        "invalid_tool_input",
    )
    assert text["text"] == "Never mind."
    told = world.engine.requests[1].turns[-1].parts[0]
    assert isinstance(told, ToolResultPart)
    assert told.is_error


async def test_a_call_of_the_client_beside_the_search_is_the_clients_turn(body: Body) -> None:
    bash = {"name": "Bash", "input_schema": {"type": "object"}}
    world = build_world([*FIND, *call("Bash", {}, "toolu_2")])
    reply = await world.client.post("/v1/messages", body(tools=[*TOOLS, bash]))
    kinds = [block["type"] for block in reply.json()["content"]]
    assert kinds == ["server_tool_use", "tool_search_tool_result", "tool_use"]
    assert reply.json()["stop_reason"] == "tool_use"
    assert len(world.engine.requests) == 1


async def test_a_search_cut_off_by_the_limit_is_not_run(body: Body) -> None:
    world = build_world([*FIND[:2], finished(FinishReason.MAX_TOKENS, prompt_tokens=1, generated_tokens=100)])
    reply = await world.client.post("/v1/messages", body(tools=TOOLS))
    assert reply.json()["stop_reason"] == "max_tokens"
    assert [block["type"] for block in reply.json()["content"]] == ["server_tool_use"]


async def test_all_generations_together_keep_to_the_limit(body: Body) -> None:
    spent = finished(FinishReason.TOOL_CALLS, prompt_tokens=1, generated_tokens=100)
    reply = await build_world([*FIND, spent]).client.post("/v1/messages", body(tools=TOOLS))
    assert reply.json()["stop_reason"] == "max_tokens"


async def test_a_result_that_no_longer_fits_ends_the_answer(body: Body) -> None:
    def too_long(_: object) -> Script:
        raise PromptTooLongError(9, 8)

    world = build_world([*say("I look."), *FIND], too_long)  # type: ignore[arg-type]
    reply = await world.client.post("/v1/messages", body(tools=TOOLS))
    assert reply.json()["stop_reason"] == "model_context_window_exceeded"
    assert reply.json()["usage"]["output_tokens"] == 2


async def test_an_error_in_a_later_generation_is_an_error(body: Body) -> None:
    world = build_world(FIND, [Raise(PromptTooLongError(9, 8))])
    assert (await world.client.post("/v1/messages", body(tools=TOOLS))).status == 400


async def test_a_demanded_search_is_demanded_once_and_searching_ends(body: Body) -> None:
    choice = {"type": "tool", "name": "tool_search_tool_regex"}
    world = build_world(*[FIND] * 10, say("I give up."))
    reply = await world.client.post("/v1/messages", body(tools=TOOLS, tool_choice=choice))
    assert reply.json()["content"][-1]["text"] == "I give up."
    requests = world.engine.requests
    assert [request.tool_choice for request in requests[1:]] == [ToolChoice()] * 10
    assert [len(request.tools) for request in requests] == [1, *[2] * 9, 1]


async def test_the_budget_of_reasoning_is_for_the_whole_answer(body: Body) -> None:
    spent = finished(FinishReason.TOOL_CALLS, prompt_tokens=1, generated_tokens=50, thinking_tokens=40)
    world = build_world([*FIND, spent], say("Done"))
    await world.client.post(
        "/v1/messages", body(tools=TOOLS, max_tokens=9000, thinking={"type": "enabled", "budget_tokens": 1024})
    )
    assert [request.thinking.budget_tokens for request in world.engine.requests] == [1024, 984]

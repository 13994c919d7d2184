"""Design 3: `context_management` and `diagnostics`, as a client sees them. A token is a word here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_http.testing import build_world
from pensieve_inference.testing import say

Body = Callable[..., dict[str, Any]]

RESULT = "word " * 100
CLEAR = {
    "type": "clear_tool_uses_20250919",
    "trigger": {"type": "input_tokens", "value": 200},
    "keep": {"type": "tool_uses", "value": 1},
}


def rounds(count: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go"}]
    for number in range(count):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": RESULT}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return messages


@pytest.mark.parametrize("stream", [False, True])
async def test_edits_that_were_made_are_told(body: Body, *, stream: bool) -> None:
    world = build_world(say("Done"))
    request = body(messages=rounds(3), stream=stream, context_management={"edits": [CLEAR]})
    reply = await world.client.post("/v1/messages?beta=true", request)
    told = reply.events()[-2].data if stream else reply.json()
    (applied,) = told["context_management"]["applied_edits"]
    assert (applied["type"], applied["cleared_tool_uses"]) == ("clear_tool_uses_20250919", 2)
    plain = await build_world().client.post("/v1/messages/count_tokens", body(messages=rounds(3)))
    assert told["usage"]["input_tokens"] == plain.json()["input_tokens"] - applied["cleared_input_tokens"]
    assert world.engine.requests[0].turns[-1].parts[0].content[0].text == RESULT  # type: ignore[union-attr]
    assert "removed" in world.engine.requests[0].turns[2].parts[0].content[0].text  # type: ignore[union-attr]


async def test_edits_that_were_not_due_are_told_as_none(body: Body) -> None:
    request = body(messages=rounds(1), context_management={"edits": [CLEAR, {"type": "compact_20260112"}]})
    reply = await build_world().client.post("/v1/messages", request)
    assert reply.json()["context_management"] == {"applied_edits": []}


async def test_who_asks_for_no_edits_is_told_of_none(body: Body) -> None:
    reply = await build_world().client.post("/v1/messages", body())
    assert "context_management" not in reply.json()
    assert "diagnostics" not in reply.json()


async def test_counting_counts_what_the_edits_leave(body: Body) -> None:
    world = build_world()
    edits = {"context_management": {"edits": [CLEAR]}}
    plain = (await world.client.post("/v1/messages/count_tokens", body(messages=rounds(3)))).json()
    counted = (await world.client.post("/v1/messages/count_tokens", body(messages=rounds(3), **edits))).json()
    charged = (await world.client.post("/v1/messages", body(messages=rounds(3), **edits))).json()
    assert counted["context_management"] == {"original_input_tokens": plain["input_tokens"]}
    assert counted["input_tokens"] == charged["usage"]["input_tokens"] < plain["input_tokens"]
    little = (await world.client.post("/v1/messages/count_tokens", body(**edits))).json()
    assert little["context_management"] == {"original_input_tokens": little["input_tokens"]}


async def test_a_changed_prompt_is_diagnosed_in_the_first_event(body: Body) -> None:
    world = build_world()
    first = await world.client.post("/v1/messages", body(system="A", diagnostics={"previous_message_id": None}))
    assert "diagnostics" not in first.json()
    asked = {"previous_message_id": first.json()["id"]}
    changed = await world.client.post("/v1/messages", body(system="B", stream=True, diagnostics=asked))
    assert changed.events()[0].data["message"]["diagnostics"] == {
        "cache_miss_reason": {"type": "system_changed", "cache_missed_input_tokens": 3}
    }
    same = await world.client.post("/v1/messages", body(system="A", diagnostics=asked))
    assert "diagnostics" not in same.json()


async def test_only_who_asks_is_remembered(body: Body) -> None:
    world = build_world()
    first = await world.client.post("/v1/messages", body())
    second = await world.client.post("/v1/messages", body(diagnostics={"previous_message_id": first.json()["id"]}))
    assert second.json()["diagnostics"] == {"cache_miss_reason": {"type": "previous_message_not_found"}}

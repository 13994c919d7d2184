"""The fields of a request."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.scripted_server import Json, ScriptedServer, Serve

from pensieve_core import ModelId, Role, TextPart
from pensieve_inference.testing import InMemoryCatalog, make_descriptor, say

requirement = pytest.mark.requirement


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: Any) -> Json:
    return {"role": "assistant", "content": content}


def system(content: Any, **more: Any) -> Json:
    return {"role": "system", "content": content, **more}


def spoken(server: ScriptedServer) -> list[tuple[Role, str]]:
    """Return who said what in the last prompt."""
    return [
        (turn.role, "".join(part.text for part in turn.parts if isinstance(part, TextPart)))
        for turn in server.told.turns
    ]


@requirement("field:model", "field:model:claude")
@pytest.mark.parametrize("name", ["org/coder", "my-alias", "claude-opus-4-8", "claude-haiku-4-5-20251001"])
async def test_a_name_is_resolved_and_echoed(serve: Serve, name: str) -> None:
    models = (make_descriptor("scripted"), make_descriptor("org/coder"))
    server = await serve(catalog=InMemoryCatalog(*models, aliases={"my-alias": ModelId("org/coder")}))
    assert (await server.ask(model=name))["model"] == name
    assert server.told.model == ("scripted" if name.startswith("claude-") else "org/coder")


@requirement("field:model:unknown", "error:not_found_error")
async def test_an_unknown_name_is_told_the_known_ones(server: ScriptedServer) -> None:
    assert await server.refusal(404, model="nobody") == "model: nobody (available: scripted)"


@requirement("field:max_tokens")
async def test_max_tokens_reach_the_engine(server: ScriptedServer) -> None:
    await server.ask(max_tokens=17)
    assert server.told.max_tokens == 17


@requirement("field:max_tokens:zero")
async def test_zero_is_a_request_without_an_answer(server: ScriptedServer) -> None:
    await server.ask(max_tokens=0)
    assert server.told.max_tokens == 0


@requirement("field:max_tokens:required")
@pytest.mark.parametrize(("given", "said"), [(..., "field required"), (-1, "must be at least 0, got -1")])
async def test_max_tokens_are_required_and_not_negative(server: ScriptedServer, given: Any, said: str) -> None:
    assert await server.refusal(max_tokens=given) == f"max_tokens: {said}"


@requirement("field:messages", "field:messages:string", "block:text")
async def test_turns_reach_the_model_in_their_order(server: ScriptedServer) -> None:
    blocks = [{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}]
    await server.ask(messages=[user("Hi"), assistant("Hello"), user(blocks)])
    assert spoken(server) == [(Role.USER, "Hi"), (Role.ASSISTANT, "Hello"), (Role.USER, "And now?")]


@requirement("field:messages:prefill")
async def test_a_last_turn_of_the_assistant_is_to_be_continued(server: ScriptedServer) -> None:
    await server.ask(messages=[user("Count"), assistant("1, 2,")])
    assert spoken(server)[-1] == (Role.ASSISTANT, "1, 2,")


@requirement("field:messages:system")
async def test_system_turns_stay_where_they_stand(server: ScriptedServer) -> None:
    await server.ask(messages=[user("a"), system("b"), assistant("c"), user("d"), system("e")])
    assert [role for role, _ in spoken(server)] == [Role.USER, Role.SYSTEM, Role.ASSISTANT, Role.USER, Role.SYSTEM]


@requirement("field:messages:clear_at")
async def test_a_passing_system_turn_is_gone_after_the_next_user_turn(server: ScriptedServer) -> None:
    passing = system("for now", clear_at="next_user_message")
    await server.ask(messages=[user("a"), passing, assistant("b"), user("c")])
    assert "for now" not in [text for _, text in spoken(server)]
    await server.ask(messages=[user("a"), passing])
    assert "for now" in [text for _, text in spoken(server)]


@requirement("field:messages:empty")
async def test_a_request_without_messages_is_refused(server: ScriptedServer) -> None:
    assert await server.refusal(messages=[]) == "messages: must not be empty"


@requirement("field:messages:limit")
async def test_a_hundred_thousand_messages_are_enough(server: ScriptedServer) -> None:
    said = await server.refusal(messages=[user("a")] * 100_001)
    assert said == "messages: must not be longer than 100000, got 100001"


@requirement("field:messages:misplaced")
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (user([{"type": "thinking", "thinking": "Hm", "signature": ""}]), "thinking"),
        (user([{"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {}}]), "tool_use"),
        (assistant([{"type": "tool_result", "tool_use_id": "toolu_1"}]), "tool_result"),
    ],
)
async def test_a_block_in_the_wrong_turn_is_refused(server: ScriptedServer, message: Json, kind: str) -> None:
    said = await server.refusal(messages=[message])
    assert said == f"messages.0.content.0.type: {kind} blocks cannot be in {message['role']} messages"


@requirement("field:system")
@pytest.mark.parametrize("given", ["Be brief.", [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]])
async def test_the_system_prompt_comes_first(server: ScriptedServer, given: Any) -> None:
    await server.ask(system=given)
    assert spoken(server) == [(Role.SYSTEM, "Be brief."), (Role.USER, "Say hello")]


@requirement("field:system:billing")
async def test_the_billing_block_never_reaches_the_model(server: ScriptedServer) -> None:
    billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197.d7d; cc_entrypoint=cli;"}
    await server.ask(system=[billing, {"type": "text", "text": "You are Claude Code."}])
    assert spoken(server)[0] == (Role.SYSTEM, "You are Claude Code.")


@requirement("field:stop_sequences")
async def test_stop_sequences_reach_the_engine(server: ScriptedServer) -> None:
    await server.ask(stop_sequences=["END", "\n\n"])
    assert server.told.stop_sequences == ("END", "\n\n")


@requirement("field:temperature", "field:top_p", "field:top_k")
@pytest.mark.parametrize(("given", "taken"), [(0, 0.0), (0.7, 0.7), (1, 1.0), (1.8, 1.0)])
async def test_sampling_is_honoured(server: ScriptedServer, given: float, taken: float) -> None:
    await server.ask(temperature=given, top_p=0.9, top_k=40)
    sampling = server.told.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (taken, 0.9, 40)


@requirement("field:top_p", "field:temperature", "field:top_k")
@pytest.mark.parametrize("fields", [{"top_p": 1.1}, {"top_p": -0.1}, {"temperature": -1}, {"top_k": -1}])
async def test_sampling_out_of_its_range_is_refused(server: ScriptedServer, fields: Json) -> None:
    (name,) = fields
    assert (await server.refusal(**fields)).startswith(f"{name}: must be ")


@requirement("field:cache_control")
async def test_the_mark_at_the_top_marks_the_last_block(server: ScriptedServer) -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    await server.ask(cache_control={"type": "ephemeral"}, messages=[user(blocks)])
    assert server.parts() == [TextPart(text="a"), TextPart(text="b", cache_mark=True)]


@requirement("field:metadata")
async def test_a_user_is_a_key_for_fairness_and_not_logged(server: ScriptedServer) -> None:
    await server.ask(metadata={"user_id": "anna@example.org"})
    first = server.told.origin.session
    await server.ask(metadata={"user_id": "anna@example.org"})
    assert server.told.origin.session == first
    await server.ask(metadata={"user_id": "somebody else"})
    assert server.told.origin.session not in (first, None)
    assert "anna" not in repr([*server.log, server.told.origin])


_SERVICE = {"model": "an-other"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"service_tier": "auto"}, marks=requirement("field:service_tier")),
        pytest.param({"speed": "fast"}, marks=requirement("field:speed")),
        pytest.param({"inference_geo": "us"}, marks=requirement("field:inference_geo")),
        pytest.param({"billing_policy": {"type": "billing_policy"}}, marks=requirement("field:billing_policy")),
        pytest.param({"fallback_credit_token": "t"}, marks=requirement("field:fallback_credit_token")),
        pytest.param({"fallbacks": [_SERVICE]}, marks=requirement("field:fallbacks")),
        pytest.param({"compaction": {"type": "auto"}}, marks=requirement("field:compaction")),
    ],
)
async def test_what_is_about_anthropics_service_changes_nothing(server: ScriptedServer, fields: Json) -> None:
    await server.ask()
    plain = server.parts()
    message = await server.ask(**fields)
    assert message["content"] == [{"type": "text", "text": "ok"}]
    assert server.parts() == plain


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("anthropic-user-profile-id", marks=requirement("field:user_profile_id")),
        pytest.param("anthropic-workspace-id", marks=requirement("field:workspace_id")),
    ],
)
async def test_headers_about_anthropics_service_change_nothing(server: ScriptedServer, header: str) -> None:
    assert (await server.post(headers={header: "x_1"})).status_code == 200


@requirement("field:thread")
@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
async def test_a_thread_is_refused_by_the_code_that_makes_sdks_send_all(server: ScriptedServer, thread: Json) -> None:
    reply = await server.post(thread=thread)
    assert reply.status_code == 400
    assert reply.json()["error"]["details"] == {"error_code": "thread_unsupported_request"}
    await server.ask(thread=None)


@requirement("field:container")
async def test_there_are_no_containers(server: ScriptedServer) -> None:
    assert await server.refusal(container="c_1") == "container: this server has no code execution containers"
    await server.ask(container=None)


@requirement("field:mcp_servers")
async def test_no_mcp_server_is_connected_to(server: ScriptedServer) -> None:
    said = await server.refusal(mcp_servers=[{"type": "url", "url": "https://mcp.example", "name": "x"}])
    assert said.startswith("mcp_servers: this server connects to no MCP servers")
    await server.ask(mcp_servers=[])


@requirement("field:unknown")
async def test_an_unknown_field_is_ignored_and_named_in_the_log(server: ScriptedServer) -> None:
    message = await server.ask(from_the_future={"x": 1})
    assert (await server.line_of(message))["unknown_fields"] == ["from_the_future"]


@requirement("field:null")
async def test_null_means_left_out(server: ScriptedServer) -> None:
    names = ("system", "tools", "tool_choice", "thinking", "metadata", "stop_sequences", "temperature", "cache_control")
    await server.ask(**dict.fromkeys(names))
    assert [tool.name for tool in server.told.tools] == []


@requirement("field:types")
@pytest.mark.parametrize("fields", [{"stream": "false"}, {"stream": 1}, {"max_tokens": 1.5}, {"stop_sequences": "END"}])
async def test_json_is_taken_at_its_word(server: ScriptedServer, fields: Json) -> None:
    (name,) = fields
    assert (await server.refusal(**fields)).startswith(f"{name}: expected ")


@requirement("field:tools", "field:tool_choice", "field:thinking", "field:output_config", "field:output_format")
async def test_the_larger_fields_reach_the_engine(serve: Serve) -> None:
    server = await serve(say("{}"))
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    await server.ask(
        max_tokens=2_000,
        tools=[{"name": "ls", "input_schema": {"type": "object"}}],
        tool_choice={"type": "none"},
        thinking={"type": "enabled", "budget_tokens": 1_024},
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert [tool.name for tool in server.told.tools] == ["ls"]
    assert (server.told.tool_choice.mode, server.told.thinking.enabled) == ("none", True)
    assert server.told.output_schema == schema
    await server.ask(output_format={"type": "json_schema", "schema": schema})
    assert server.told.output_schema == schema

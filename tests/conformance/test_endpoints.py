"""Paths, versions and keys."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import types
from conformance.scripted_server import ScriptedServer, Serve

from pensieve_core import ModelId
from pensieve_http import ApiKey, HttpSettings
from pensieve_inference.testing import InMemoryCatalog, ScriptedEngine, make_descriptor, say

requirement = pytest.mark.requirement

OLD, NEW = {"anthropic-version": "2023-06-01"}, {"anthropic-version": "2026-10-21"}
KEYED = HttpSettings(api_keys=(ApiKey.from_plain("right"),))


@requirement("endpoint:messages", "message:fields", "field:messages:string")
async def test_a_message_is_answered(serve: Serve) -> None:
    server = await serve(say("Hello there"))
    message = await server.ask()
    assert message["content"] == [{"type": "text", "text": "Hello there"}]
    promised = {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "usage"}
    assert promised <= set(message)


@requirement("endpoint:messages:beta-query")
async def test_the_beta_query_changes_nothing(server: ScriptedServer) -> None:
    reply = await server.http.post("/v1/messages?beta=true", json=server.body())
    assert reply.json()["content"] == [{"type": "text", "text": "ok"}]


@requirement("endpoint:messages:method")
async def test_another_method_is_told_which_is_allowed(server: ScriptedServer) -> None:
    reply = await server.http.get("/v1/messages")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"]["type"] == "invalid_request_error"


@requirement("endpoint:count_tokens", "endpoint:count_tokens:no-max_tokens")
async def test_a_count_has_one_figure_and_needs_no_max_tokens(server: ScriptedServer) -> None:
    reply = await server.post("/v1/messages/count_tokens", max_tokens=...)
    assert reply.json() == {"input_tokens": 2}


@requirement("endpoint:count_tokens:exact", "usage:sum")
async def test_a_count_is_what_is_charged(server: ScriptedServer) -> None:
    fields = {"system": "Be brief now.", "tools": [{"name": "ls", "input_schema": {"type": "object"}}]}
    usage = (await server.ask(**fields))["usage"]
    charged = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert await server.count(**fields) == charged > 5


def _models() -> InMemoryCatalog:
    first, second = make_descriptor("scripted"), make_descriptor("org/coder", context_tokens=8_192)
    return InMemoryCatalog(first, second, aliases={"claude-local": ModelId("scripted")})


@requirement("endpoint:models:list", "endpoint:models:picker", "endpoint:models:fields")
async def test_models_and_aliases_are_listed_with_every_field(serve: Serve) -> None:
    server = await serve(catalog=_models())
    page = (await server.http.get("/v1/models?limit=1000", headers=OLD)).json()
    assert [model["id"] for model in page["data"]] == ["scripted", "org/coder", "claude-local"]
    for model in page["data"]:
        assert set(types.ModelInfo.model_fields) <= set(model)
        types.ModelInfo.model_validate(model)
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "scripted", "claude-local")


@requirement("endpoint:models:pages")
async def test_models_come_in_pages_both_ways(serve: Serve) -> None:
    server = await serve(catalog=_models())
    after = (await server.http.get("/v1/models?limit=1&after_id=scripted", headers=NEW)).json()
    assert ([model["id"] for model in after["data"]], after["has_more"]) == (["org/coder"], True)
    before = (await server.http.get("/v1/models?limit=5&before_id=claude-local", headers=NEW)).json()
    assert ([model["id"] for model in before["data"]], before["has_more"]) == (["scripted", "org/coder"], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=nobody", "after_id=a&before_id=b"])
@requirement("endpoint:models:bad-page")
async def test_a_page_that_cannot_be_is_refused(server: ScriptedServer, query: str) -> None:
    reply = await server.http.get(f"/v1/models?{query}", headers=OLD)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("name", ["org/coder", "org%2Fcoder", "claude-opus-4-8"])
@requirement("endpoint:models:retrieve")
async def test_one_model_is_found_by_any_usable_name(serve: Serve, name: str) -> None:
    server = await serve(catalog=_models())
    model = (await server.http.get(f"/v1/models/{name}", headers=OLD)).json()
    types.ModelInfo.model_validate(model)
    assert model["id"] == name.replace("%2F", "/")


@requirement("endpoint:models:unknown", "error:not_found_error")
async def test_a_model_that_nobody_knows_is_a_404(server: ScriptedServer) -> None:
    reply = await server.http.get("/v1/models/nobody", headers=OLD)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


class _Fitted(ScriptedEngine):
    """Has half of the context that its model was trained for."""

    def __init__(self) -> None:
        super().__init__(model=make_descriptor())
        self.description = type(self.description)(
            model=self.description.model,
            engine="scripted",
            context_tokens=16_384,
            max_sequences=1,
            threads=1,
            gpu_layers=0,
        )


@requirement("endpoint:models:fitted")
async def test_limits_are_those_that_were_fitted(serve: Serve) -> None:
    server = await serve(engine=_Fitted())
    model = (await server.http.get("/v1/models/scripted", headers=OLD)).json()
    assert (model["max_input_tokens"], model["max_tokens"]) == (16_384, 16_384)


@requirement("endpoint:models:capabilities")
async def test_every_capability_is_named_and_nothing_is_claimed_for_a_text_model(server: ScriptedServer) -> None:
    found = (await server.http.get("/v1/models/scripted", headers=OLD)).json()["capabilities"]
    types.ModelCapabilities.model_validate(found)
    assert set(types.ModelCapabilities.model_fields) <= set(found)
    for name in ("image_input", "thinking", "citations", "code_execution"):
        assert not found[name]["supported"]


@requirement("endpoint:models:openai")
async def test_without_a_version_models_are_in_openais_form(server: ScriptedServer) -> None:
    listed = (await server.http.get("/v1/models")).json()
    assert (listed["object"], listed["data"][0]["object"]) == ("list", "model")
    assert (await server.http.get("/v1/models/scripted")).json()["object"] == "model"


@requirement("endpoint:root")
async def test_knocking_is_answered(server: ScriptedServer) -> None:
    reply = await server.http.head("/")
    assert (reply.status_code, reply.content) == (200, b"")


@requirement("endpoint:healthz", "endpoint:readyz", "endpoint:version")
async def test_probes_and_version_answer(server: ScriptedServer) -> None:
    assert (await server.http.get("/healthz")).status_code == 200
    assert (await server.http.get("/readyz")).json()["status"] == "ready"
    assert (await server.http.get("/version")).json()["api_versions"] == ["2023-06-01", "2026-10-21"]


@requirement("endpoint:readyz:reason")
async def test_a_server_that_is_not_ready_says_why(serve: Serve) -> None:
    server = await serve()
    server.drain.begin(5)
    reply = await server.http.get("/readyz")
    assert (reply.status_code, reply.json()["reason"]) == (503, "the server is shutting down")


@requirement("endpoint:metrics")
async def test_metrics_are_in_prometheus_form(server: ScriptedServer) -> None:
    reply = await server.http.get("/metrics")
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert "# TYPE pensieve_tokens_total counter" in reply.text
    for name in ("pensieve_requests_total counter", "pensieve_time_to_first_byte_seconds histogram"):
        assert f"# TYPE {name}" in reply.text


@requirement("endpoint:openapi")
async def test_the_api_describes_itself(server: ScriptedServer) -> None:
    document = (await server.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    assert {"/v1/messages", "/v1/messages/count_tokens", "/v1/models"} <= set(document["paths"])
    assert {"Message", "MessagesRequest", "ErrorEvent"} <= set(document["components"]["schemas"])


@requirement("endpoint:chat")
async def test_openais_door_leads_to_the_same_engine(server: ScriptedServer) -> None:
    ask = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 17}
    reply = (await server.http.post("/v1/chat/completions", json=ask)).json()
    assert (reply["object"], reply["choices"][0]["message"]["role"]) == ("chat.completion", "assistant")
    assert server.told.max_tokens == 17
    refused = await server.http.post("/v1/chat/completions", json={**ask, "messages": []})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, None)


@requirement("endpoint:unknown")
@pytest.mark.parametrize("path", ["/v1/complete", "/v1/organizations/me", "/v1", "/v1/messages/"])
async def test_anything_else_is_not_found(server: ScriptedServer, path: str) -> None:
    reply = await server.post(path)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(OLD, marks=requirement("version:2023-06-01")),
        pytest.param(NEW, marks=requirement("version:2026-10-21")),
        pytest.param({}, marks=requirement("version:missing")),
    ],
)
async def test_both_versions_and_none_get_the_same_answer(server: ScriptedServer, headers: dict[str, str]) -> None:
    assert (await server.post(headers=headers)).json()["content"] == [{"type": "text", "text": "ok"}]


@requirement("version:unknown")
async def test_an_unknown_version_is_told_the_known_ones(server: ScriptedServer) -> None:
    reply = await server.post(headers={"anthropic-version": "2031-01-01"})
    assert reply.status_code == 400
    assert "2023-06-01, 2026-10-21" in reply.json()["error"]["message"]


@requirement("version:sampling-is-gone")
async def test_sampling_is_honoured_on_the_new_version_too(server: ScriptedServer) -> None:
    assert (await server.post(headers=NEW, temperature=0.5)).status_code == 200
    assert server.told.sampling.temperature == 0.5


@requirement("version:strict")
@pytest.mark.parametrize(
    ("headers", "fields", "named"),
    [
        (NEW, {"temperature": 0.5}, "temperature: "),
        (OLD, {"from_the_future": 1}, "from_the_future: "),
        ({"anthropic-beta": "never-heard-of-2099-01-01"}, {}, "anthropic-beta: 'never-heard-of-2099-01-01'"),
    ],
)
async def test_a_strict_server_refuses_what_it_would_ignore(
    serve: Serve, headers: dict[str, str], fields: dict[str, Any], named: str
) -> None:
    server = await serve(settings=HttpSettings(strict=True))
    reply = await server.post(headers=headers, **fields)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(named)
    assert (await server.post(headers=OLD, temperature=0.5)).status_code == 200


@requirement("version:beta", "field:betas")
async def test_no_beta_makes_a_request_fail(server: ScriptedServer) -> None:
    betas = "context-management-2025-06-27,never-heard-of-2099-01-01"
    assert (await server.post(headers={"anthropic-beta": betas})).status_code == 200


@requirement("access:open")
@pytest.mark.parametrize("headers", [{}, {"x-api-key": "anything"}, {"authorization": "Bearer anything"}])
async def test_a_server_without_keys_takes_any(server: ScriptedServer, headers: dict[str, str]) -> None:
    assert (await server.post(headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x-api-key": "right"}, marks=requirement("access:x-api-key")),
        pytest.param({"authorization": "Bearer right"}, marks=requirement("access:bearer")),
    ],
)
async def test_the_right_key_opens(serve: Serve, headers: dict[str, str]) -> None:
    server = await serve(settings=KEYED)
    assert (await server.post(headers=headers)).status_code == 200


@requirement("error:authentication_error")
@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}])
async def test_no_key_and_a_wrong_one_are_refused(serve: Serve, headers: dict[str, str]) -> None:
    server = await serve(settings=KEYED)
    reply = await server.post(headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")


@requirement("access:probes")
@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/version"])
async def test_probes_need_no_key(serve: Serve, path: str) -> None:
    server = await serve(settings=KEYED)
    assert (await server.http.get(path)).status_code == 200

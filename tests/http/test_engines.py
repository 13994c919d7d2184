"""Ours: `/engines` tells what is in memory, and loads and unloads as it is told."""

from __future__ import annotations

from typing import Any

import pytest

from pensieve_core import EngineResidency, ModelBrokenError, ModelDescriptor, ModelId, Residency, ResidencyState
from pensieve_http import ApiKey, HttpSettings
from pensieve_http.testing import World, build_world
from pensieve_inference.testing import InMemoryCatalog, ScriptedProvider, make_descriptor

_VERSION = {"anthropic-version": "2023-06-01"}
_UNLOADED = {
    "model": "org/coder",
    "state": "unloaded",
    "memory_bytes": None,
    "gpu_bytes": None,
    "resident_bytes": None,
    "pinned": False,
    "requests": 0,
    "waiting": 0,
    "progress": 0.0,
    "detail": "",
    "loaded_at": None,
    "last_used_at": None,
    "unloads_at": None,
}


def _world(settings: HttpSettings | None = None, **more: Any) -> World:
    models = (make_descriptor("scripted"), make_descriptor("org/coder"))
    catalog = InMemoryCatalog(*models, aliases={"coder": ModelId("org/coder")})
    return build_world(model=models[0], catalog=catalog, settings=settings, **more)


async def _post(world: World, path: str, body: object = None) -> Any:
    headers = {"content-type": ""} if body is None else {}
    send = world.client.request("POST", path, headers=headers) if body is None else world.client.post(path, body)
    reply = await send
    assert reply.status == 200, reply.body
    return reply.json()


async def _states(world: World) -> dict[str, str]:
    listed = (await world.client.get("/engines")).json()
    return {engine["model"]: engine["state"] for engine in listed["engines"]}


async def test_every_model_of_the_catalog_is_listed_loaded_or_not() -> None:
    listed = (await _world().client.get("/engines")).json()
    assert listed["memory"] == {
        "budget_bytes": None,
        "used_bytes": 0,
        "gpu_budget_bytes": None,
        "gpu_used_bytes": 0,
    }
    assert listed["engines"] == [{**_UNLOADED, "model": "scripted"}, _UNLOADED]


async def test_one_model_is_told_by_its_id_or_any_alias() -> None:
    world = _world()
    for name in ("org/coder", "coder"):
        assert (await world.client.get(f"/engines/{name}")).json() == _UNLOADED
    assert (await world.client.get("/engines/nobody/here")).status == 404


async def test_a_model_with_an_adapter_is_told_although_no_list_has_it() -> None:
    """Names of the form MODEL+ADAPTER are made up as they are asked for."""

    class Adapting(InMemoryCatalog):
        def resolve(self, name: str) -> ModelDescriptor:
            return make_descriptor(name) if "+" in name else super().resolve(name)

    model = make_descriptor("scripted")
    world = build_world(model=model, catalog=Adapting(model))
    assert (await world.client.get("/engines/scripted+poet")).json() == {**_UNLOADED, "model": "scripted+poet"}
    assert await _states(world) == {"scripted": "unloaded"}


async def test_how_much_of_a_model_is_there_is_told_while_it_is_loaded() -> None:
    """A provider that knows nothing of memory still knows that."""

    class Loading(ScriptedProvider):
        def residency(self) -> Residency:
            engine = EngineResidency(model=ModelId("scripted"), state=ResidencyState.LOADING, waiting=1, progress=0.25)
            return Residency(engines=(engine,))

    world = _world(provider=Loading)
    told = (await world.client.get("/engines/scripted")).json()
    assert (told["state"], told["progress"], told["waiting"]) == ("loading", 0.25, 1)
    assert told in (await world.client.get("/engines")).json()["engines"]


async def test_a_model_is_loaded_without_a_body_and_unloaded_again() -> None:
    world = _world()
    assert (await _post(world, "/engines/org/coder/load"))["state"] == "ready"
    assert await _states(world) == {"scripted": "unloaded", "org/coder": "ready"}
    assert (await _post(world, "/engines/org/coder/unload"))["state"] == "unloaded"
    assert await _states(world) == {"scripted": "unloaded", "org/coder": "unloaded"}


async def test_an_alias_will_do() -> None:
    assert (await _post(_world(), "/engines/coder/load"))["model"] == "org/coder"


async def test_a_pin_stays_until_it_is_taken_off() -> None:
    world = _world()
    assert (await _post(world, "/engines/coder/load", {"pin": True}))["pinned"]
    assert (await _post(world, "/engines/coder/load"))["pinned"]
    assert not (await _post(world, "/engines/coder/load", {"pin": False}))["pinned"]


@pytest.mark.parametrize("path", ["/engines/nobody/load", "/engines/nobody/unload"])
async def test_an_unknown_model_is_a_404(path: str) -> None:
    reply = await _world().client.post(path, {})
    assert (reply.status, reply.json()["error"]["type"]) == (404, "not_found_error")


async def test_a_pin_that_is_no_boolean_is_a_400() -> None:
    reply = await _world().client.post("/engines/coder/load", {"pin": "yes"})
    assert (reply.status, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "pin" in reply.json()["error"]["message"]


async def test_a_model_that_cannot_be_loaded_says_why() -> None:
    error = ModelBrokenError(ModelId("org/coder"), "bad magic")
    world = _world(provider=lambda engine: ScriptedProvider(engine, error=error))
    reply = await world.client.post("/engines/coder/load", {})
    assert (reply.status, reply.json()["error"]["message"]) == (500, error.message)
    assert (await _states(world))["org/coder"] == "failed"


async def test_they_answer_while_the_server_goes_down() -> None:
    world = _world()
    world.drain.begin(0.0)
    assert (await world.client.get("/engines")).status == 200
    assert (await world.client.post("/v1/messages", {})).status == 529


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/engines"), ("POST", "/engines/coder/load"), ("POST", "/engines/coder/unload")]
)
async def test_they_ask_for_the_key_and_keep_other_pages_out(method: str, path: str) -> None:
    world = _world(HttpSettings(api_keys=(ApiKey.from_plain("secret"),), signing_key=bytes(32)))
    headers = {"content-type": ""} if method == "POST" else {}
    assert (await world.client.request(method, path, headers=headers)).status == 401
    known = {**headers, "x-api-key": "secret"}
    assert (await world.client.request(method, path, headers=known)).status == 200
    assert (await world.client.request(method, path, headers={**known, "origin": "https://evil.example"})).status == 403


async def test_the_list_of_models_says_which_are_in_memory() -> None:
    world = _world()
    await _post(world, "/engines/coder/load", {"pin": True})
    for headers in (_VERSION, {}):
        listed = (await world.client.get("/v1/models", headers=headers)).json()["data"]
        assert [(model["id"], model["pensieve"]["state"]) for model in listed] == [
            ("scripted", "unloaded"),
            ("org/coder", "ready"),
            ("coder", "ready"),
        ]
        assert listed[1]["pensieve"] == {"state": "ready", "pinned": True, "memory_bytes": None}


async def test_looking_again_and_again_fills_no_log() -> None:
    """Ours: `pensieve-server load` looks five times a second. What is done is logged."""
    world = _world()
    await world.client.get("/engines")
    await world.client.get("/engines/coder")
    await _post(world, "/engines/coder/load")
    lines = [entry for entry in world.log if entry["event"] == "request_finished"]
    assert [(line["path"], line["log_level"]) for line in lines] == [
        ("/engines", "debug"),
        ("/engines/coder", "debug"),
        ("/engines/coder/load", "info"),
    ]

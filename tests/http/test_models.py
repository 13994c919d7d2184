from __future__ import annotations

from typing import Any

import pytest

from pensieve_core import ModelDescriptor, ModelId
from pensieve_http.testing import World, build_world
from pensieve_inference.testing import InMemoryCatalog, make_descriptor

_VERSION = {"anthropic-version": "2023-06-01"}


def _world() -> World:
    models = (make_descriptor("scripted"), make_descriptor("org/coder", context_tokens=8_192))
    aliases = {"claude-local": ModelId("scripted"), "scripted": ModelId("org/coder"), "gone": ModelId("removed")}
    return build_world(model=models[0], catalog=InMemoryCatalog(*models, aliases=aliases))


async def _get(target: str, headers: dict[str, str]) -> Any:
    reply = await _world().client.get(target, headers=headers)
    assert reply.status == 200
    return reply.json()


async def test_models_are_listed_before_aliases_in_anthropics_form() -> None:
    page = await _get("/v1/models?limit=1000", _VERSION)
    assert [model["id"] for model in page["data"]] == ["scripted", "org/coder", "claude-local"]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "scripted", "claude-local")
    assert {model["type"] for model in page["data"]} == {"model"}
    assert page["data"][1]["max_input_tokens"] == 8_192


class CatalogWithAdapter(InMemoryCatalog):
    """Knows a model that it does not list."""

    def resolve(self, name: str) -> ModelDescriptor:
        return make_descriptor("scripted+poet") if name in {"bard", "scripted+poet"} else super().resolve(name)


async def test_an_alias_of_a_model_that_is_not_listed_itself_is_listed() -> None:
    catalog = CatalogWithAdapter(make_descriptor("scripted"), aliases={"bard": ModelId("scripted+poet")})
    reply = await build_world(model=make_descriptor("scripted"), catalog=catalog).client.get("/v1/models")
    assert [model["id"] for model in reply.json()["data"]] == ["scripted", "bard"]


async def test_the_list_comes_in_pages() -> None:
    page = await _get("/v1/models?limit=1&after_id=scripted", _VERSION)
    assert [model["id"] for model in page["data"]] == ["org/coder"]
    assert page["has_more"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "after_id=nobody", "after_id=a&before_id=b"])
async def test_a_page_that_cannot_be_is_a_400(query: str) -> None:
    reply = await _world().client.get(f"/v1/models?{query}", headers=_VERSION)
    assert (reply.status, reply.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("query", ["limit=0", "limit=null"])
async def test_openais_form_refuses_the_same_limits(query: str) -> None:
    """Found by schemathesis: `limit` was not looked at there."""
    assert (await _world().client.get(f"/v1/models?{query}")).status == 400


async def test_without_anthropic_version_the_list_is_openais() -> None:
    models = await _get("/v1/models", {})
    assert models["object"] == "list"
    assert [model["id"] for model in models["data"]] == ["scripted", "org/coder", "claude-local"]
    assert models["data"][0]["object"] == "model"


@pytest.mark.parametrize("path", ["org/coder", "org%2Fcoder"])
async def test_an_id_may_hold_slashes(path: str) -> None:
    assert (await _get(f"/v1/models/{path}", _VERSION))["id"] == "org/coder"


async def test_one_model_is_found_by_any_name_that_a_request_may_use() -> None:
    assert (await _get("/v1/models/claude-opus-4-8", _VERSION))["id"] == "claude-opus-4-8"
    assert (await _get("/v1/models/claude-opus-4-8", {}))["object"] == "model"


async def test_an_unknown_model_is_a_404() -> None:
    reply = await _world().client.get("/v1/models/nobody", headers=_VERSION)
    assert (reply.status, reply.json()["error"]["type"]) == (404, "not_found_error")

from __future__ import annotations

import pytest

from pensieve_core import EnginePhase, EngineStatus, ModelBrokenError, ModelId
from pensieve_http import HttpSettings
from pensieve_http.endpoints.health import readiness
from pensieve_http.testing import build_world
from pensieve_inference.testing import ScriptedProvider

_DEFAULT = ModelId("default")


def _status(name: str, phase: EnginePhase) -> EngineStatus:
    return EngineStatus(model=ModelId(name), phase=phase, progress=0.4, detail="bad magic")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/version"])
async def test_head_and_get_answer_alike(path: str) -> None:
    # Claude Code begins with HEAD /.
    world = build_world()
    assert (await world.client.request("HEAD", path)).status == 200
    assert (await world.client.get(path)).headers["content-type"] == "application/json"


async def test_the_version_is_the_one_that_was_set() -> None:
    reply = await build_world(settings=HttpSettings(version="1.2.3")).client.get("/version")
    assert reply.json() == {
        "name": "pensieve-server",
        "version": "1.2.3",
        "api_versions": ["2023-06-01", "2026-10-21"],
    }


async def test_a_ready_server_lists_its_engines() -> None:
    reply = await build_world().client.get("/readyz")
    assert reply.status == 200
    assert reply.json() == {
        "status": "ready",
        "reason": None,
        "engines": [{"model": "scripted", "phase": "ready", "progress": 1.0, "detail": ""}],
    }


async def test_a_broken_model_is_a_503_with_the_engines_last_words() -> None:
    error = ModelBrokenError(ModelId("scripted"), "bad magic")
    reply = await build_world(provider=lambda engine: ScriptedProvider(engine, error=error)).client.get("/readyz")
    assert reply.status == 503
    assert reply.json()["reason"] == f"model scripted is broken: {error.message}"


async def test_probes_are_logged_for_debugging_only() -> None:
    world = build_world()
    await world.client.get("/healthz")
    await world.client.get("/")
    assert [line["log_level"] for line in world.lines()] == ["debug", "info"]


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ((), None),
        ((_status("default", EnginePhase.COLD),), None),
        ((_status("default", EnginePhase.READY), _status("other", EnginePhase.BROKEN)), None),
        (
            (_status("default", EnginePhase.LOADING), _status("other", EnginePhase.READY)),
            "model default is loading (40%)",
        ),
        ((_status("default", EnginePhase.BROKEN),), "model default is broken: bad magic"),
        ((_status("other", EnginePhase.READY), _status("third", EnginePhase.BROKEN)), None),
        ((_status("other", EnginePhase.LOADING),), "model other is loading (40%)"),
    ],
)
def test_readiness_is_the_default_models_and_else_that_of_any(
    statuses: tuple[EngineStatus, ...], reason: str | None
) -> None:
    found = readiness(_DEFAULT, statuses)
    assert (found.ready, found.reason) == (reason is None, reason)


def test_a_server_without_any_model_is_not_ready() -> None:
    assert readiness(None, ()).reason == "no model is installed"

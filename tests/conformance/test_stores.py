"""Batches and files."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import pytest
from anthropic import types
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from conformance.scripted_server import BOUND_S, ScriptedServer, Serve, checked_message

from pensieve_core import Priority
from pensieve_http import HttpSettings
from pensieve_inference import FileLimits
from pensieve_inference.testing import Wait, say

requirement = pytest.mark.requirement

Json = dict[str, Any]


BATCHES = "/v1/messages/batches"


async def _batch(server: ScriptedServer, *params: Json) -> Json:
    wanted = [{"custom_id": f"r-{number}", "params": each} for number, each in enumerate(params or [server.body()])]
    created = await server.http.post(BATCHES, json={"requests": wanted})
    assert created.status_code == 200, created.text
    batch: Json = created.json()
    MessageBatch.model_validate(batch)
    return batch


async def _ended(server: ScriptedServer, batch: Json) -> Json:
    async with asyncio.timeout(BOUND_S):
        while (found := await _looked_up(server, batch))["processing_status"] != "ended":
            pass
    return found


async def _looked_up(server: ScriptedServer, batch: Json) -> Json:
    found: Json = (await server.http.get(f"{BATCHES}/{batch['id']}")).json()
    MessageBatch.model_validate(found)
    return found


async def _results(server: ScriptedServer, batch: Json) -> list[Json]:
    await _ended(server, batch)
    reply = await server.http.get(f"{BATCHES}/{batch['id']}/results")
    lines = [json.loads(line) for line in reply.text.splitlines()]
    for line in lines:
        MessageBatchIndividualResponse.model_validate(line)
    return [line["result"] for line in lines]


@requirement("batch:create", "batch:retrieve")
async def test_a_batch_is_taken_and_can_be_looked_up(server: ScriptedServer) -> None:
    created = await _batch(server)
    assert created["type"] == "message_batch"
    assert created["request_counts"]["processing"] == 1
    done = await _ended(server, created)
    assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0}
    assert done["results_url"] == f"{server.url}{BATCHES}/{created['id']}/results"


@requirement("batch:create:custom_id")
@pytest.mark.parametrize("ids", [[None], ["a", "a"], ["not an id"]])
async def test_an_id_that_is_missing_or_comes_twice_is_refused(server: ScriptedServer, ids: list[str | None]) -> None:
    wanted = [{"params": server.body(), **({"custom_id": one} if one else {})} for one in ids]
    reply = await server.http.post(BATCHES, json={"requests": wanted})
    assert (reply.status_code, "custom_id" in reply.json()["error"]["message"]) == (400, True)


@requirement("batch:list")
async def test_batches_are_listed_newest_first(server: ScriptedServer) -> None:
    assert (await server.http.get(BATCHES)).json()["data"] == []
    ids = [(await _batch(server))["id"] for _ in range(3)]
    page = (await server.http.get(f"{BATCHES}?limit=2")).json()
    assert [batch["id"] for batch in page["data"]] == [ids[2], ids[1]]
    assert page["has_more"]


@requirement("batch:results", "batch:results:succeeded", "batch:results:errored")
async def test_each_request_has_its_own_result(server: ScriptedServer) -> None:
    batch = await _batch(server, server.body(), server.body(max_tokens=-1))
    succeeded, errored = await _results(server, batch)
    checked_message(succeeded["message"])
    alone = await server.refusal(max_tokens=-1)
    assert (errored["type"], errored["error"]["error"]["message"]) == ("errored", alone)


@requirement("batch:cancel", "batch:results:canceled", "batch:results:early", "batch:delete", "error:conflict_error")
async def test_a_batch_is_cancelled_and_what_contradicts_its_state_is_a_conflict(serve: Serve) -> None:
    server = await serve([Wait(60), *say("late")])
    batch = await _batch(server)
    path = f"{BATCHES}/{batch['id']}"
    for early in (await server.http.get(f"{path}/results"), await server.http.delete(path)):
        assert (early.status_code, early.json()["error"]["type"]) == (409, "conflict_error")
    canceling = await server.http.post(f"{path}/cancel")
    assert (canceling.status_code, canceling.json()["cancel_initiated_at"] is not None) == (200, True)
    assert await _results(server, batch) == [{"type": "canceled"}]
    assert (await server.http.post(f"{path}/cancel")).status_code == 409
    assert (await server.http.delete(path)).json() == {"id": batch["id"], "type": "message_batch_deleted"}
    assert (await server.http.get(path)).status_code == 404


@requirement("batch:results:expired")
async def test_what_is_not_answered_in_its_time_expires(serve: Serve) -> None:
    limits = attrs.evolve(HttpSettings().batch_limits, expiry_s=0.5)
    server = await serve([Wait(60), *say("late")], settings=HttpSettings(batch_limits=limits))
    assert await _results(server, await _batch(server)) == [{"type": "expired"}]


@requirement("batch:unknown")
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/results"), ("POST", "/cancel"), ("DELETE", "")])
async def test_an_unknown_batch_is_not_found(server: ScriptedServer, method: str, path: str) -> None:
    assert (await server.http.request(method, f"{BATCHES}/msgbatch_1{path}")).status_code == 404


@requirement("batch:priority")
async def test_a_batch_waits_for_everybody_else(server: ScriptedServer) -> None:
    await _ended(server, await _batch(server))
    assert server.told.origin.priority is max(Priority)


UPLOAD = {"file": ("a.txt", b"Hello", "text/plain")}


@requirement("file:upload", "file:retrieve", "file:content", "file:delete")
async def test_a_file_is_kept_given_back_and_forgotten(server: ScriptedServer) -> None:
    created = (await server.http.post("/v1/files", files=UPLOAD)).json()
    types.FileMetadata.model_validate(created)
    assert (created["filename"], created["mime_type"], created["size_bytes"]) == ("a.txt", "text/plain", 5)
    path = f"/v1/files/{created['id']}"
    assert (await server.http.get(path)).json() == created
    assert (await server.http.get(f"{path}/content")).content == b"Hello"
    deleted = (await server.http.delete(path)).json()
    assert deleted == {"id": created["id"], "type": "file_deleted"}
    assert (await server.http.get(path)).status_code == 404


@requirement("file:list")
async def test_files_are_listed_newest_first(server: ScriptedServer) -> None:
    ids = [(await server.http.post("/v1/files", files=UPLOAD)).json()["id"] for _ in range(3)]
    page = (await server.http.get("/v1/files?limit=2")).json()
    assert [file["id"] for file in page["data"]] == [ids[2], ids[1]]
    assert page["has_more"]


@requirement("file:unknown", "error:not_found_error")
@pytest.mark.parametrize("path", ["file_1", "file_1/content"])
async def test_an_unknown_file_is_not_found(server: ScriptedServer, path: str) -> None:
    reply = await server.http.get(f"/v1/files/{path}")
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


@requirement("file:quota")
async def test_beyond_the_quota_an_upload_is_refused(serve: Serve) -> None:
    limits = FileLimits(max_file_bytes=1_000, max_total_bytes=1_000)
    server = await serve(settings=HttpSettings(file_limits=limits))
    large = {"file": ("a.bin", bytes(900), "application/octet-stream")}
    assert (await server.http.post("/v1/files", files=large)).status_code == 200
    refused = await server.http.post("/v1/files", files=large)
    assert refused.status_code == 400
    assert refused.json()["error"]["details"]["error_code"] == "storage_quota_exceeded"

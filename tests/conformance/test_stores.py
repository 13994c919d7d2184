"""Batches and files."""

from __future__ import annotations

import pytest
from anthropic import types
from conformance.scripted_server import ScriptedServer, Serve

from pensieve_http import HttpSettings
from pensieve_inference import FileLimits

requirement = pytest.mark.requirement


@requirement("batch:create", "batch:retrieve")
async def test_a_batch_is_taken_and_can_be_looked_up(server: ScriptedServer) -> None:
    wanted = {"requests": [{"custom_id": "a", "params": server.body()}]}
    created = await server.http.post("/v1/messages/batches", json=wanted)
    assert (created.status_code, created.json()["type"]) == (200, "message_batch")
    found = await server.http.get(f"/v1/messages/batches/{created.json()['id']}")
    assert found.json()["id"] == created.json()["id"]


@requirement("batch:list")
async def test_batches_are_listed(server: ScriptedServer) -> None:
    assert (await server.http.get("/v1/messages/batches")).json()["data"] == []


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

"""Batches and files."""

from __future__ import annotations

import pytest
from conformance.scripted_server import ScriptedServer

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


@requirement("file:upload", "file:retrieve", "file:content")
async def test_a_file_is_kept_and_given_back(server: ScriptedServer) -> None:
    created = await server.http.post("/v1/files", files={"file": ("a.txt", b"Hello", "text/plain")})
    assert (created.status_code, created.json()["size_bytes"]) == (200, 5)


@requirement("file:list")
async def test_files_are_listed(server: ScriptedServer) -> None:
    assert (await server.http.get("/v1/files")).json()["data"] == []

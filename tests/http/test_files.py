"""`/v1/files`, over HTTP and any store."""

from __future__ import annotations

from typing import Any

import pytest

from pensieve_http import HttpSettings
from pensieve_http.settings import ApiKey
from pensieve_http.testing import Reply, World, build_world
from pensieve_inference import FileLimits

FORM = {"content-type": "multipart/form-data; boundary=xyz"}
HEAD = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
TAIL = b"\r\n--xyz--\r\n"
EXPIRY = b'\r\n--xyz\r\nContent-Disposition: form-data; name="expires_in_seconds"\r\n\r\n3600'


def world(**limits: int) -> World:
    file_limits = FileLimits(**{"max_file_bytes": 1_000, "max_total_bytes": 1_500, **limits})
    return build_world(settings=HttpSettings(file_limits=file_limits))


async def upload(server: World, data: bytes = b"hello", *, more: bytes = b"") -> Reply:
    return await server.client.post("/v1/files", body=HEAD + data + more + TAIL, headers=FORM)


async def get(server: World, target: str) -> Any:
    reply = await server.client.get(target)
    assert reply.status == 200, reply.body
    return reply.json()


async def test_a_file_is_uploaded_described_downloaded_and_deleted() -> None:
    """The SDK's `file_metadata.py` and `deleted_file.py`."""
    server = world()
    file = (await upload(server)).json()
    assert file == {
        "id": "file_0001",
        "type": "file",
        "filename": "a.txt",
        "mime_type": "text/plain",
        "size_bytes": 5,
        "created_at": "1970-01-01T00:16:40Z",
        "downloadable": True,
        "expires_at": None,
    }
    assert await get(server, f"/v1/files/{file['id']}") == file
    content = await server.client.get(f"/v1/files/{file['id']}/content")
    assert (content.status, content.body) == (200, b"hello")
    deleted = await server.client.request("DELETE", f"/v1/files/{file['id']}")
    assert deleted.json() == {"id": file["id"], "type": "file_deleted"}
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        gone = await server.client.request(method, f"/v1/files/{file['id']}{path}")
        assert (gone.status, gone.json()["error"]["type"]) == (404, "not_found_error")


async def test_a_download_is_never_shown_as_a_page_of_this_server() -> None:
    server = world()
    await upload(server)
    headers = (await server.client.get("/v1/files/file_0001/content")).headers
    assert headers["content-type"] == "text/plain"
    assert headers["content-length"] == "5"
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''a.txt"
    assert headers["x-content-type-options"] == "nosniff"


async def test_an_empty_file_can_be_downloaded() -> None:
    server = world()
    await upload(server, b"")
    reply = await server.client.get("/v1/files/file_0001/content")
    assert (reply.status, reply.body) == (200, b"")


async def test_a_file_expires_when_it_was_told_to() -> None:
    server = world()
    file = (await upload(server, more=EXPIRY)).json()
    assert file["expires_at"] == "1970-01-01T01:16:40Z"
    await server.clock.advance(3_600)
    gone = await server.client.get("/v1/files/file_0001")
    assert gone.status == 404
    assert gone.json()["error"]["details"] == {"error_code": "file_expired"}


async def test_pages_follow_each_other_by_either_kind_of_cursor() -> None:
    """`page` and `next_page` are the SDKs' of 2026; `after_id`, `before_id` and `has_more` those of 2025."""
    server = world()
    for _ in range(5):
        await upload(server)
    first = await get(server, "/v1/files?limit=2&beta=true")
    assert [file["id"] for file in first["data"]] == ["file_0005", "file_0004"]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, "file_0005", "file_0004")
    by_page = await get(server, f"/v1/files?limit=2&page={first['next_page']}")
    by_id = await get(server, "/v1/files?limit=2&after_id=file_0004")
    assert by_page == by_id
    assert [file["id"] for file in by_page["data"]] == ["file_0003", "file_0002"]
    last = await get(server, f"/v1/files?limit=2&page={by_page['next_page']}")
    assert [file["id"] for file in last["data"]] == ["file_0001"]
    assert (last["has_more"], last["next_page"]) == (False, None)
    back = await get(server, "/v1/files?limit=3&before_id=file_0002")
    assert [file["id"] for file in back["data"]] == ["file_0005", "file_0004", "file_0003"]
    assert (back["has_more"], back["next_page"]) == (False, "page_file_0003")


async def test_no_files_are_an_empty_page() -> None:
    assert await get(world(), "/v1/files") == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
        "next_page": None,
    }


async def test_files_can_be_asked_for_by_id() -> None:
    """The SDK's `file_list_params.py`: a single page, and those that do not resolve are silently omitted."""
    server = world()
    for _ in range(3):
        await upload(server)
    page = await get(server, "/v1/files?ids[]=file_0002&ids[]=nobody&ids%5B%5D=file_0001&ids=file_0002")
    assert [file["id"] for file in page["data"]] == ["file_0002", "file_0001"]
    assert page["next_page"] is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: must be from 1 to 1000"),
        ("page=2", "page: expected the next_page"),
        ("page=page_a&after_id=b", "page: expected"),
        ("ids=a&limit=3", "ids: cannot be combined with limit"),
        ("after_id=a&before_id=b", "before_id: cannot be combined"),
        ("&".join(f"ids[]={number}" for number in range(101)), "ids: at most 100"),
    ],
)
async def test_a_page_that_cannot_be_is_a_400(query: str, message: str) -> None:
    reply = await world().client.get(f"/v1/files?{query}")
    assert reply.status == 400
    assert message in reply.json()["error"]["message"]


async def test_a_file_that_is_too_large_is_a_413_however_it_comes() -> None:
    server = world()
    announced = await server.client.post(
        "/v1/files", body=HEAD, headers={**FORM, "content-length": str(1_000 + (64 << 10) + 1)}
    )
    assert announced.status == 413
    reply = await upload(server, bytes(1_001))
    assert (reply.status, reply.json()["error"]["type"]) == (413, "request_too_large")
    assert "1000 bytes" in reply.json()["error"]["message"]
    assert (await get(server, "/v1/files"))["data"] == []


async def test_a_full_store_says_what_to_do() -> None:
    """The SDK's `storage_quota_exceeded_error.py`: a 400 with a code of its own."""
    server = world()
    await upload(server, bytes(1_000))
    reply = await upload(server, bytes(501))
    assert reply.status == 400
    assert reply.json()["error"]["details"] == {"error_code": "storage_quota_exceeded"}
    assert "delete files" in reply.json()["error"]["message"]
    await server.client.request("DELETE", "/v1/files/file_0001")
    assert (await upload(server, bytes(501))).status == 200


async def test_a_form_with_more_beside_its_file_than_in_it_is_cut_short() -> None:
    server = world()
    reply = await server.client.post("/v1/files", body=HEAD + b"x" + TAIL + bytes(70_000), headers=FORM)
    assert reply.status == 413


async def test_only_a_form_is_taken_and_only_as_it_is() -> None:
    server = world()
    wrong_type = await server.client.post("/v1/files", {})
    assert (wrong_type.status, "multipart/form-data" in wrong_type.json()["error"]["message"]) == (400, True)
    encoded = await server.client.post("/v1/files", body=HEAD + TAIL, headers={**FORM, "content-encoding": "gzip"})
    assert (encoded.status, "content-encoding" in encoded.json()["error"]["message"]) == (400, True)
    elsewhere = await server.client.post("/v1/messages", body=HEAD + TAIL, headers=FORM)
    assert elsewhere.status == 400


async def test_a_page_of_another_site_cannot_upload() -> None:
    """A form is what a browser sends without asking first; its Origin gives it away."""
    headers = {**FORM, "origin": "https://elsewhere.example"}
    reply = await world().client.post("/v1/files", body=HEAD + TAIL, headers=headers)
    assert reply.status == 403


async def test_files_need_the_key() -> None:
    server = build_world(settings=HttpSettings(api_keys=(ApiKey.from_plain("k"),)))
    assert (await server.client.get("/v1/files")).status == 401


async def test_an_unknown_version_is_refused() -> None:
    server = world()
    for method, path in (("GET", "/v1/files"), ("GET", "/v1/files/a"), ("DELETE", "/v1/files/a")):
        reply = await server.client.request(method, path, headers={"anthropic-version": "1999-01-01"})
        assert reply.status == 400


async def test_a_client_that_leaves_half_way_leaves_nothing() -> None:
    server = world()
    async with server.client.open("POST", "/v1/files", headers=FORM) as connection:
        connection.upload(HEAD + bytes(900), more=True)
    assert (await get(server, "/v1/files"))["data"] == []
    assert (await upload(server, bytes(1_000))).status == 200


async def test_an_upload_that_stalls_is_given_up_and_a_slow_one_is_not() -> None:
    server = world()
    async with server.client.open("POST", "/v1/files", headers=FORM) as connection:
        connection.upload(HEAD, more=True)
        for _ in range(5):
            await server.clock.advance(59)
            connection.upload(b"x", more=True)
        await server.clock.advance(61)
        reply = connection
        assert await reply.status() == 408


async def test_an_upload_is_ended_when_the_server_goes_down() -> None:
    server = world()
    async with server.client.open("POST", "/v1/files", headers=FORM) as connection:
        connection.upload(HEAD, more=True)
        await server.clock.advance(1)
        server.drain.begin(10)
        await server.clock.advance(10)
        assert await connection.status() == 529


async def test_a_download_to_nobody_who_reads_is_cut() -> None:
    server = build_world(window=1)
    await upload(server, bytes(300_000))
    async with server.client.open("GET", "/v1/files/file_0001/content", body=b"") as connection:
        assert await connection.status() == 200
        await server.clock.advance(61)
        await connection.served()
    assert server.lines()[-1]["ending"] == "slow_reader"


async def test_a_download_ends_when_its_client_leaves() -> None:
    server = build_world(window=1)
    await upload(server, bytes(300_000))
    async with server.client.open("GET", "/v1/files/file_0001/content", body=b"") as connection:
        assert await connection.status() == 200
    assert server.lines()[-1]["ending"] == "disconnected"

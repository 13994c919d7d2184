"""Files that requests name by id: what the engine is told, and what their sender when they cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pensieve_core import ImagePart, ModelId, Origin, Part, RequestId, TextPart, ToolResultPart
from pensieve_http import HttpSettings
from pensieve_http.named_files import NamedFiles
from pensieve_http.storage import BatchStore, Database, Storage
from pensieve_http.testing import Reply, World, build_world
from pensieve_inference import NewFile
from pensieve_inference.testing import FakeClock, InMemoryFileStore
from pensieve_protocol import RequestError, parse_messages_request, to_generation_request

Body = Callable[..., dict[str, Any]]
PIXELS = b"\x89PNG not really"


class CountingStore(InMemoryFileStore):
    """Counts how often a file is read."""

    reads = 0

    async def read(self, file_id: Any, *, max_bytes: int) -> bytes:
        self.reads += 1
        return await super().read(file_id, max_bytes=max_bytes)


@pytest.fixture
def files() -> CountingStore:
    store = CountingStore()
    for name, data, media_type in (
        ("a.png", PIXELS, "image/png"),
        ("b.txt", "Grüße".encode(), "text/plain"),
        ("c.json", b"{}", "application/json"),
        ("d.zip", b"PK", "application/zip"),
        ("e.txt", b"\xff", "text/plain"),
        ("f.pdf", b"no PDF", "application/pdf"),
        ("g.txt", bytes(1_000), "text/plain"),
    ):
        store.put(data, NewFile(filename=name, media_type=media_type))
    return store


@pytest.fixture
def world(files: CountingStore) -> World:
    clock, settings = FakeClock(), HttpSettings(max_body_bytes=1_005, signing_key=bytes(32))
    batches = BatchStore(Database(None), clock, limits=settings.batch_limits)
    return build_world(settings=settings, storage=Storage(files=files, batches=batches))


def block(kind: str, number: int) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "file", "file_id": f"file_{number:04}"}}


@pytest.fixture
def ask(world: World, body: Body) -> Callable[..., Any]:
    async def asked(*blocks: dict[str, Any]) -> Reply:
        return await world.client.post("/v1/messages", body(messages=[{"role": "user", "content": list(blocks)}]))

    return asked


def told(world: World) -> tuple[Part, ...]:
    return world.engine.requests[-1].turns[0].parts


async def test_images_and_text_stand_where_their_files_were_named(world: World, ask: Any) -> None:
    assert (await ask(block("image", 1), block("document", 2), block("document", 3))).status == 200
    image, *texts = told(world)
    assert image == ImagePart(media_type="image/png", data=PIXELS)
    assert "".join(part.text for part in texts if isinstance(part, TextPart)) == (
        "<document>\nGrüße\n</document><document>\n{}\n</document>"
    )


async def test_files_within_documents_and_tool_results_are_read_and_each_once(
    world: World, files: CountingStore, ask: Any
) -> None:
    within = {"type": "document", "source": {"type": "content", "content": [block("image", 1)]}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [block("image", 1), block("document", 2)]}
    assert (await ask(within, result, block("document", 2))).status == 200
    assert files.reads == 2
    results = [part for part in told(world) if isinstance(part, ToolResultPart)]
    pieces = [*told(world), *(piece for part in results for piece in part.content)]
    assert [piece.data for piece in pieces if isinstance(piece, ImagePart)] == [PIXELS, PIXELS]


@pytest.mark.parametrize(
    ("named", "status", "message"),
    [
        (block("image", 9), 404, "no file has the id file_0009"),
        (block("image", 2), 400, "the file is text/plain, and an image must be one of image/jpeg, image/png"),
        (block("document", 1), 400, "the file is image/png, and a document must be application/pdf or text"),
        (block("document", 4), 400, "the file is application/zip"),
        (block("document", 5), 400, "the file is text/plain, and not UTF-8"),
    ],
)
async def test_what_cannot_serve_is_refused_with_its_place(
    ask: Any, named: dict[str, Any], status: int, message: str
) -> None:
    reply = await ask({"type": "text", "text": "Look:"}, named)
    assert reply.status == status
    assert reply.json()["error"]["message"].startswith(f"messages.0.content.1.source.file_id: {message}")


async def test_a_pdf_is_read_as_one_that_came_with_the_request(ask: Any) -> None:
    reply = await ask(block("document", 6))
    assert reply.status == 400
    assert "The PDF specified was not valid" in reply.json()["error"]["message"]


async def test_all_files_of_a_request_may_have_as_much_as_its_body(ask: Any) -> None:
    assert (await ask(block("document", 7))).status == 200
    reply = await ask(block("document", 7), block("document", 2))
    assert (reply.status, reply.json()["error"]["type"]) == (413, "request_too_large")


async def test_an_expired_file_says_so(world: World, files: CountingStore, ask: Any) -> None:
    passing = files.put(b"x", NewFile(filename="x", media_type="text/plain", expires_in_s=0))
    reply = await ask({"type": "document", "source": {"type": "file", "file_id": passing.id}})
    assert (reply.status, reply.json()["error"]["details"]) == (404, {"error_code": "file_expired"})


async def test_counting_reads_them_as_answering_does(world: World, ask: Any, body: Body) -> None:
    messages = [{"role": "user", "content": [block("document", 2)]}]
    counted = await world.client.post("/v1/messages/count_tokens", {"model": "claude-x", "messages": messages})
    answered = await ask(block("document", 2))
    assert counted.json()["input_tokens"] == answered.json()["usage"]["input_tokens"]


async def test_a_request_that_names_no_file_is_left_as_it_is(body: Body) -> None:
    wire = parse_messages_request(orjson.dumps(body()))
    assert await NamedFiles(files=InMemoryFileStore(), max_bytes=1).read(wire) is wire


async def test_a_server_that_keeps_no_files_says_so(body: Body) -> None:
    wire = parse_messages_request(orjson.dumps(body(messages=[{"role": "user", "content": [block("image", 1)]}])))
    with pytest.raises(RequestError, match=r"^messages\.0\.content\.0\.source\.file_id: this server keeps no files"):
        await NamedFiles(files=None, max_bytes=1).read(wire)


async def test_what_nobody_has_read_is_a_note_to_the_model(body: Body) -> None:
    content = [block("image", 1), block("document", 1)]
    wire = parse_messages_request(orjson.dumps(body(messages=[{"role": "user", "content": content}])))
    request = to_generation_request(wire, request_id=RequestId("req_1"), model=ModelId("m"), origin=Origin())
    text = "".join(part.text for part in request.turns[0].parts if isinstance(part, TextPart))
    assert text.count("This file could not be read") == 2

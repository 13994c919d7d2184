"""PDFs of requests: what the engine is told of them, and what their sender when they cannot be read."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pypdf
import pytest

from pensieve_core import GenerationRequest, TextPart, ToolResultPart
from pensieve_http import HttpSettings
from pensieve_http.documents import Documents, PdfProcess, UnreadablePdfError, _pdf_text, pdf_process
from pensieve_http.testing import build_world
from pensieve_inference.testing import FakeClock
from pensieve_protocol import RequestError, parse_messages_request

Body = Callable[..., dict[str, Any]]

SOURCE = Path(_pdf_text.__file__).read_text()


def pdf(*pages: str) -> bytes:
    """Return a PDF with a line of text on each page; an empty line makes an empty page."""
    writer = pypdf.PdfWriter()
    for line in pages:
        page = writer.add_blank_page(200, 200)
        font = pypdf.generic.DictionaryObject(
            {
                pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
                pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
                pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
            }
        )
        fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): font})
        page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
            {pypdf.generic.NameObject("/Font"): fonts}
        )
        content = pypdf.generic.StreamObject()
        content.set_data(f"BT /F1 12 Tf 20 100 Td ({line}) Tj ET".encode() if line else b"")
        page[pypdf.generic.NameObject("/Contents")] = writer._add_object(content)
    return written(writer)


def encrypted(data: bytes, password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    return written(writer)


def written(writer: pypdf.PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def document(data: bytes, **fields: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(data).decode()}
    return {"type": "document", "source": source, **fields}


def asking(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What does it say?"}, *blocks]}]


def told(request: GenerationRequest) -> str:
    parts = [part for turn in request.turns for part in turn.parts]
    inside = [item for part in parts for item in (part.content if isinstance(part, ToolResultPart) else (part,))]
    return "".join(part.text for part in inside if isinstance(part, TextPart))


async def test_the_engine_is_told_the_text_of_a_pdf(body: Body) -> None:
    """The SDK's `DocumentBlockParam` with `Base64PDFSourceParam`."""
    world = build_world()
    sent = document(pdf("Hello from page one", "and two"), title="a.pdf", context="mine", citations={"enabled": True})
    assert (await world.client.post("/v1/messages", body(messages=asking(sent)))).status == 200
    (request,) = world.engine.requests
    assert told(request).endswith(
        "<document>\n<title>a.pdf</title>\n<context>mine</context>\n"
        "[Page 1]\nHello from page one\n\n[Page 2]\nand two\n</document>"
    )


async def test_a_pdf_in_a_tool_result_is_read_as_well(body: Body) -> None:
    world = build_world()
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [document(pdf("Read by a tool"))]}
    assert (await world.client.post("/v1/messages", body(messages=asking(result)))).status == 200
    assert "Read by a tool" in told(world.engine.requests[0])


async def test_a_pdf_is_counted_as_it_is_charged(body: Body) -> None:
    world = build_world()
    request = body(messages=asking(document(pdf("Count me"))))
    counted = await world.client.post("/v1/messages/count_tokens", request)
    answered = await world.client.post("/v1/messages", request)
    assert counted.json()["input_tokens"] == answered.json()["usage"]["input_tokens"]


NOT_VALID = "messages.0.content.1.source.data: The PDF specified was not valid"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no PDF at all", NOT_VALID),
        (pdf("cut short")[:200], NOT_VALID),
        (
            encrypted(pdf("secret"), "password"),
            "messages.0.content.1.source.data: The PDF specified is password protected",
        ),
        (pdf("1", "2", "3"), "messages.0.content.1.source.data: A maximum of 2 PDF pages may be provided, got 3"),
        (b"", "messages.0.content.1.source.data: PDF cannot be empty"),
    ],
    ids=["nothing like it", "broken", "encrypted", "too long", "empty"],
)
async def test_a_pdf_that_cannot_be_read_is_a_400_in_the_words_that_claude_code_knows(
    body: Body, data: bytes, said: str
) -> None:
    """Claude Code 2.1.330 looks for these words, and goes on without the document."""
    world = build_world(settings=HttpSettings(max_pdf_pages=2))
    reply = await world.client.post("/v1/messages", body(messages=asking(document(data))))
    assert reply.status == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.json()["error"]["message"].startswith(said)
    assert not world.engine.requests
    assert (await world.client.post("/v1/messages", body())).status == 200


async def test_what_needs_no_password_to_be_read_is_read(body: Body) -> None:
    """Such PDFs restrict printing or copying only."""
    world = build_world()
    await world.client.post("/v1/messages", body(messages=asking(document(encrypted(pdf("not to be printed"), "")))))
    assert "not to be printed" in told(world.engine.requests[0])


async def test_a_page_without_text_says_so(body: Body) -> None:
    world = build_world()
    await world.client.post("/v1/messages", body(messages=asking(document(pdf("", "two")))))
    assert "[Page 1]\n(no text: perhaps a scan or a picture)\n\n[Page 2]\ntwo" in told(world.engine.requests[0])


async def test_without_a_reader_pdfs_are_refused_and_the_list_of_models_says_so(body: Body) -> None:
    world = build_world(settings=HttpSettings(max_pdf_pages=0))
    reply = await world.client.post("/v1/messages", body(messages=asking(document(pdf("a")))))
    assert reply.status == 400
    assert "does not support PDF input" in reply.json()["error"]["message"]
    assert [supported for _, supported in await supports_pdfs(world.client)] == [False]


async def test_the_list_of_models_says_that_pdfs_are_read() -> None:
    assert [supported for _, supported in await supports_pdfs(build_world().client)] == [True]


async def supports_pdfs(client: Any) -> list[tuple[str, bool]]:
    listed = await client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    return [(model["id"], model["capabilities"]["pdf_input"]["supported"]) for model in listed.json()["data"]]


def test_no_reader_is_made_where_no_pages_are_allowed() -> None:
    assert pdf_process(max_pages=0, max_cpu_s=1) is None


class CountingTexts:
    """Reads anything, and counts."""

    def __init__(self, text: str = "text", *, hangs: bool = False) -> None:
        self.reading = self.read = 0
        self._text = text
        self._hangs = hangs

    async def text(self, pdf: bytes) -> str:
        self.read += 1
        self.reading += 1
        try:
            if self._hangs:
                await asyncio.Event().wait()
        finally:
            self.reading -= 1
        return self._text


def wire(body: Body, *documents: dict[str, Any]) -> Any:
    return parse_messages_request(orjson.dumps(body(messages=asking(*documents))))


async def test_a_pdf_that_was_read_is_not_read_again(body: Body) -> None:
    """A conversation brings its documents with every turn."""
    texts = CountingTexts()
    documents = Documents(texts, FakeClock(), timeout_s=5)
    first, second = document(b"one"), document(b"two")
    await documents.read(wire(body, first))
    await documents.read(wire(body, first, second, first))
    assert texts.read == 2


async def test_texts_that_were_not_used_for_longest_are_forgotten(body: Body) -> None:
    texts = CountingTexts("x" * (9 << 20))
    documents = Documents(texts, FakeClock(), timeout_s=5)
    for name in (b"one", b"two", b"one"):
        await documents.read(wire(body, document(name)))
    assert texts.read == 3


async def test_reading_that_does_not_end_is_given_up(body: Body) -> None:
    texts, clock = CountingTexts(hangs=True), FakeClock()
    documents = Documents(texts, clock, timeout_s=5)
    reading = asyncio.ensure_future(documents.read(wire(body, document(b"endless"))))
    await clock.advance(4.9)
    assert texts.reading == 1
    await clock.advance(0.2)
    with pytest.raises(RequestError, match=r"messages.0.content.1.source.data: Could not process PDF: .* 5 s"):
        await reading
    assert texts.reading == 0


async def test_a_process_that_nobody_waits_for_is_ended(tmp_path: Path) -> None:
    said, program = tmp_path / "pid", tmp_path / "endless.py"
    os.mkfifo(said)
    program.write_text(f"import os, pathlib\npathlib.Path({str(said)!r}).write_text(str(os.getpid()))\nwhile 1: pass\n")
    reading = asyncio.ensure_future(PdfProcess(max_pages=1, max_cpu_s=60, program=program).text(b"pdf"))
    async with asyncio.timeout(20):
        pid = int(await asyncio.to_thread(said.read_text))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("program", ["import os; os.abort()", "print('[]')", "print('no json')"])
async def test_a_process_that_answers_nonsense_has_read_no_valid_pdf(tmp_path: Path, program: str) -> None:
    file = tmp_path / "program.py"
    file.write_text(program)
    with pytest.raises(UnreadablePdfError, match="The PDF specified was not valid"):
        await PdfProcess(max_pages=1, max_cpu_s=60, program=file).text(b"pdf")


async def test_reading_takes_no_more_of_the_processor_than_it_may(tmp_path: Path) -> None:
    """The system ends it, even where nobody is left who could."""
    file = tmp_path / "program.py"
    file.write_text(SOURCE.replace("def pdf_text(", "def pdf_text(*_, **__):\n    while 1: pass\n\n\ndef _unused("))
    with pytest.raises(UnreadablePdfError):
        await PdfProcess(max_pages=1, max_cpu_s=1, program=file).text(b"pdf")


def test_a_document_with_more_text_than_any_context_holds_is_refused() -> None:
    texts = iter(["x" * _pdf_text.MAX_CHARACTERS, "y"])
    with pytest.raises(_pdf_text.Refused, match="characters of text"):
        list(_pdf_text._within_bounds(texts))


def test_the_text_does_not_depend_on_the_process() -> None:
    assert _pdf_text.pdf_text(pdf("same"), max_pages=1) == "[Page 1]\nsame"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encrypted(pdf("secret"), "password"), "password protected"),
        (pdf("1", "2"), "maximum of 1 PDF pages"),
        (b"%PDF-1.7 nothing", "was not valid"),
    ],
    ids=["encrypted", "too long", "broken"],
)
def test_neither_do_refusals(data: bytes, said: str) -> None:
    with pytest.raises(_pdf_text.Refused, match=said):
        _pdf_text.pdf_text(data, max_pages=1)

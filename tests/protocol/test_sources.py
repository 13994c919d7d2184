"""What a request leaves to be read by others, and the request with what they read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_core import ImagePart, ToolResultPart
from pensieve_protocol import (
    MessagesRequest,
    PdfSource,
    RequestError,
    TextSource,
    pending_files,
    pending_sources,
    with_sources,
)

Parse = Callable[..., MessagesRequest]

PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
TEXT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1"}
FIRST = ("messages", 0, "content", 1, "source")
WITHIN = ("messages", 2, "content", 0, "content", 1, "source")


@pytest.fixture
def request_with_pdfs(parse: Parse) -> MessagesRequest:
    def user(*blocks: dict[str, Any]) -> dict[str, Any]:
        return {"role": "user", "content": list(blocks)}

    nested = {**RESULT, "content": [TEXT, PDF]}
    return parse(messages=[user(TEXT, PDF), user({**RESULT, "content": "said"}), user(nested), user(RESULT)])


def test_pdfs_are_pending_wherever_they_stand(request_with_pdfs: MessagesRequest) -> None:
    found = pending_sources(request_with_pdfs)
    assert [pending.path for pending in found] == [FIRST, WITHIN]
    assert {pending.source.data for pending in found} == {b"%PDF-"}


def test_what_was_read_takes_their_place_and_nothing_else_changes(request_with_pdfs: MessagesRequest) -> None:
    text = TextSource(type="text", data="read")
    done = with_sources(request_with_pdfs, {FIRST: text, WITHIN: text})
    assert not pending_sources(done)
    pdf = PdfSource(type="base64", media_type="application/pdf", data=b"%PDF-")
    assert with_sources(done, {FIRST: pdf, WITHIN: pdf}) == request_with_pdfs


def test_a_request_without_any_stays_the_very_same(parse: Parse) -> None:
    plain = parse(messages=[{"role": "user", "content": "Hi"}])
    assert not pending_sources(plain)
    assert with_sources(plain, {}) is plain


def test_a_refusal_names_the_data(request_with_pdfs: MessagesRequest) -> None:
    refusal = pending_sources(request_with_pdfs)[1].refusal("broken")
    assert isinstance(refusal, RequestError)
    assert refusal.error.message == "messages.2.content.0.content.1.source.data: broken"
    assert refusal.error.status == 400


def test_a_pdf_must_be_base64(parse: Parse) -> None:
    bad = {**PDF, "source": {**PDF["source"], "data": "%"}}  # type: ignore[dict-item] # a literal of two depths
    with pytest.raises(RequestError, match=r"messages.0.content.0.source.data: expected base64"):
        parse(messages=[{"role": "user", "content": [bad]}])


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}


def test_an_image_knows_where_its_data_stands(parse: Parse, translate: Callable[..., Any]) -> None:
    """Whoever finds that it is none, later, can say so."""
    within = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}, IMAGE]}}
    content = [{"type": "text", "text": "Look"}, IMAGE, within, {**RESULT, "content": [IMAGE, within]}]
    turns = translate(messages=[{"role": "user", "content": content}]).turns
    parts = [part for turn in turns for part in turn.parts]
    results = [item for part in parts if isinstance(part, ToolResultPart) for item in part.content]
    places = [part.place for part in (*parts, *results) if isinstance(part, ImagePart)]
    assert places == [
        "messages.0.content.1.source.data",
        "messages.0.content.2.source.content.1.source.data",
        "messages.0.content.3.content.0.source.data",
        "messages.0.content.3.content.1.source.content.1.source.data",
    ]


def test_only_files_are_pending_as_files(parse: Parse) -> None:
    named = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    request = parse(messages=[{"role": "user", "content": [TEXT, named]}])
    (pending,) = pending_files(request)
    assert (pending.source.file_id, pending.is_image) == ("file_1", False)
    assert pending.path == ("messages", 0, "content", 1, "source")

"""What a message may hold."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from conformance.scripted_server import Json, ScriptedServer

from pensieve_core import ImagePart, TextPart, ThinkingPart, ToolCallPart, ToolReferencePart, ToolResultPart

requirement = pytest.mark.requirement

PIXELS = b"\x89PNG not really"
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PIXELS).decode()},
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {"path": "/"}}
LS = {"name": "ls", "input_schema": {"type": "object"}}


def user(*blocks: Json) -> Json:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def history(*blocks: Json) -> Json:
    """Return a request in whose second turn the assistant said `blocks`."""
    return {
        "messages": [
            {"role": "user", "content": "Go on"},
            {"role": "assistant", "content": list(blocks)},
            {"role": "user", "content": "And?"},
        ]
    }


def text(server: ScriptedServer) -> str:
    """Return all text of the last prompt."""
    return "".join(part.text for part in server.parts() if isinstance(part, TextPart))


@requirement("block:text:empty")
async def test_empty_text_is_tolerated(server: ScriptedServer) -> None:
    await server.ask(**user({"type": "text", "text": ""}, {"type": "text", "text": "Hi"}))
    assert text(server) == "Hi"


@requirement("block:image")
async def test_an_image_reaches_the_engine_decoded(server: ScriptedServer) -> None:
    await server.ask(**user(IMAGE))
    assert server.parts() == [ImagePart(media_type="image/png", data=PIXELS)]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("image", marks=requirement("block:image:url")),
        pytest.param("document", marks=requirement("block:document:url")),
    ],
)
async def test_a_url_is_not_fetched(server: ScriptedServer, kind: str) -> None:
    said = await server.refusal(**user({"type": kind, "source": {"type": "url", "url": "https://x.example/y"}}))
    assert "url sources are not fetched by this server" in said


@requirement("block:image:not-base64")
async def test_data_that_is_no_base64_is_refused(server: ScriptedServer) -> None:
    broken = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%%%"}}
    assert await server.refusal(**user(broken)) == "messages.0.content.0.source.data: expected base64"


@requirement("block:document")
async def test_a_document_comes_with_title_and_context(server: ScriptedServer) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "The body."}
    await server.ask(**user({"type": "document", "source": source, "title": "The title", "context": "The context"}))
    assert all(words in text(server) for words in ("The title", "The context", "The body."))


@requirement("block:document:content")
async def test_a_document_of_blocks_keeps_text_and_images(server: ScriptedServer) -> None:
    source = {"type": "content", "content": [{"type": "text", "text": "The body."}, IMAGE]}
    await server.ask(**user({"type": "document", "source": source}))
    assert "The body." in text(server)
    assert [part.data for part in server.parts() if isinstance(part, ImagePart)] == [PIXELS]


PAGE = "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 200 200] /Resources << /Font << /F1 5 0 R >> >> >>"


def pdf(line: str) -> bytes:
    """Return a PDF of one page with a line of text; readers find its parts without a table of them."""
    drawing = f"BT /F1 12 Tf 20 100 Td ({line}) Tj ET"
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE,
        f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body = "".join(f"{number} 0 obj\n{part}\nendobj\n" for number, part in enumerate(parts, 1))
    return f"%PDF-1.4\n{body}trailer\n<< /Root 1 0 R /Size 6 >>\nstartxref\n0\n%%EOF\n".encode()


@requirement("block:document:pdf")
async def test_the_text_of_a_pdf_reaches_the_model(server: ScriptedServer) -> None:
    data = base64.b64encode(pdf("Otters hold hands.")).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    await server.ask(**user({"type": "document", "source": source}))
    assert "Otters hold hands." in text(server)


@requirement("block:document:citations")
async def test_citations_are_accepted_and_none_are_made(server: ScriptedServer) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "The body."}
    message = await server.ask(**user({"type": "document", "source": source, "citations": {"enabled": True}}))
    assert message["content"] == [{"type": "text", "text": "ok"}]


@requirement("block:search_result")
async def test_a_search_result_comes_with_source_and_title(server: ScriptedServer) -> None:
    content = [{"type": "text", "text": "The text."}]
    found = {"type": "search_result", "source": "https://x.example", "title": "The title", "content": content}
    await server.ask(**user(found))
    assert all(words in text(server) for words in ("https://x.example", "The title", "The text."))


@requirement("block:thinking", "thinking:signature", "thinking:signature:foreign")
@pytest.mark.parametrize("signature", ["", "EqQBCkYIBxgCKkDforeign"])
async def test_reasoning_comes_back_whoever_signed_it(server: ScriptedServer, signature: str) -> None:
    await server.ask(
        **history({"type": "thinking", "thinking": "Hm.", "signature": signature}, {"type": "text", "text": "Yes"})
    )
    assert ThinkingPart(text="Hm.", signature=signature) in server.parts()


@requirement("block:redacted_thinking")
async def test_what_only_anthropic_can_read_is_left_out(server: ScriptedServer) -> None:
    await server.ask(**history({"type": "redacted_thinking", "data": "c2VjcmV0"}, {"type": "text", "text": "Yes"}))
    assert "c2VjcmV0" not in repr(server.parts())


@requirement("block:tool_use", "block:tool_result")
async def test_a_call_and_its_result_reach_the_model(server: ScriptedServer) -> None:
    request = history(CALL)
    request["messages"][2]["content"] = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}]
    await server.ask(tools=[LS], **request)
    call, result = server.parts()[1:]
    assert isinstance(call, ToolCallPart)
    assert (call.name, call.arguments, call.id) == ("ls", {"path": "/"}, "toolu_1")
    assert result == ToolResultPart(call_id=call.id, content=(TextPart(text="a.txt"),))


async def _result(server: ScriptedServer, **fields: Any) -> ToolResultPart:
    await server.ask(**user({"type": "tool_result", "tool_use_id": "toolu_1", **fields}))
    (part,) = server.parts()
    assert isinstance(part, ToolResultPart)
    return part


@requirement("block:tool_result:blocks")
async def test_a_result_may_hold_text_images_documents_and_search_results(server: ScriptedServer) -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "The body."}}
    found = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "The hit."}]}
    part = await _result(server, content=[{"type": "text", "text": "The text."}, IMAGE, document, found])
    words = "".join(piece.text for piece in part.content if isinstance(piece, TextPart))
    assert all(expected in words for expected in ("The text.", "The body.", "The hit."))
    assert [piece.data for piece in part.content if isinstance(piece, ImagePart)] == [PIXELS]


@requirement("block:tool_result:is_error")
async def test_a_failure_is_marked(server: ScriptedServer) -> None:
    assert (await _result(server, content="no such file", is_error=True)).is_error


@requirement("block:tool_result:missing")
@pytest.mark.parametrize("fields", [{}, {"content": ""}, {"content": []}, {"content": None}])
async def test_a_result_may_be_empty(server: ScriptedServer, fields: Json) -> None:
    assert (await _result(server, **fields)).content == ()


@requirement("block:tool_result:tool_reference", "tool:custom:defer_loading")
async def test_a_deferred_tool_is_unknown_until_a_result_refers_to_it(server: ScriptedServer) -> None:
    deferred = {**LS, "defer_loading": True}
    await server.ask(tools=[deferred])
    assert [tool.name for tool in server.told.tools] == []
    await server.ask(
        tools=[deferred],
        **user(
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": [{"type": "tool_reference", "tool_name": "ls"}],
            }
        ),
    )
    assert [tool.name for tool in server.told.tools] == ["ls"]
    (part,) = server.parts()
    assert isinstance(part, ToolResultPart)
    assert part.content == (ToolReferencePart(name="ls"),)


SERVER_CALL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "weather"}}
RESULTS = [
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_result",
    "advisor_tool_result",
]


@requirement("block:server_tool_use", "block:*_tool_result")
@pytest.mark.parametrize("kind", RESULTS)
async def test_what_ran_on_anthropics_servers_is_accepted_as_text(server: ScriptedServer, kind: str) -> None:
    came = {"type": kind, "tool_use_id": "srvtoolu_1", "content": [{"type": "text", "text": "Sunny."}]}
    await server.ask(**history(SERVER_CALL, came, {"type": "text", "text": "It is sunny."}))
    assert "weather" in text(server)
    assert "Sunny." in text(server)


@requirement("block:mcp_tool_use")
async def test_an_mcp_call_is_accepted_as_text(server: ScriptedServer) -> None:
    call = {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "lookup", "server_name": "s", "input": {"q": "x"}}
    await server.ask(**history(call, {"type": "text", "text": "Yes"}))
    assert "lookup" in text(server)


@requirement("block:compaction")
async def test_the_summary_of_a_compaction_reaches_the_model(server: ScriptedServer) -> None:
    await server.ask(**history({"type": "compaction", "content": "We spoke of the weather."}))
    assert "We spoke of the weather." in text(server)


@requirement("block:tool_addition")
async def test_an_addition_makes_a_deferred_tool_known(server: ScriptedServer) -> None:
    addition = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "ls"}}
    await server.ask(tools=[{**LS, "defer_loading": True}], **user({"type": "text", "text": "Go"}, addition))
    assert [tool.name for tool in server.told.tools] == ["ls"]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(
            {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "ls"}},
            marks=requirement("block:tool_removal"),
        ),
        pytest.param({"type": "mcp_tool_listing", "tools": []}, marks=requirement("block:mcp_tool_listing")),
        pytest.param({"type": "fallback", "from": {}, "to": {}}, marks=requirement("block:fallback")),
    ],
)
async def test_directives_are_accepted_and_not_shown(server: ScriptedServer, block: Json) -> None:
    await server.ask(tools=[LS], **user({"type": "text", "text": "Go"}, block))
    assert server.parts() == [TextPart(text="Go")]
    assert [tool.name for tool in server.told.tools] == ["ls"]


@requirement("block:container_upload")
async def test_there_is_no_container_to_upload_into(server: ScriptedServer) -> None:
    said = await server.refusal(**user({"type": "container_upload", "file_id": "file_1"}))
    assert "there is none here" in said


@requirement("block:unknown")
async def test_an_unknown_block_is_told_the_known_ones(server: ScriptedServer) -> None:
    said = await server.refusal(**user({"type": "hologram"}))
    assert said.startswith("messages.0.content.0.type: expected one of 'text', 'image', ")


@requirement("block:cache_control", "cache:text")
async def test_a_mark_is_taken_and_changes_nothing_else(server: ScriptedServer) -> None:
    blocks: list[Json] = [{"type": "text", "text": "a"}, IMAGE, {"type": "tool_result", "tool_use_id": "toolu_1"}]
    await server.ask(**user(*blocks))
    plain = server.parts()
    await server.ask(**user(*({**block, "cache_control": {"type": "ephemeral"}} for block in blocks)))
    assert [getattr(part, "cache_mark", False) for part in server.parts()] == [True, True, True]
    assert [type(part) for part in server.parts()] == [type(part) for part in plain]
    assert text(server) == "a"


@requirement("cache:ttl")
@pytest.mark.parametrize("ttl", ["5m", "1h"])
async def test_both_lifetimes_are_accepted(server: ScriptedServer, ttl: str) -> None:
    marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": ttl}}
    await server.ask(**user(marked))
    assert server.parts() == [TextPart(text="a", cache_mark=True)]


@requirement("block:cut-history")
async def test_a_history_that_was_cut_is_accepted(server: ScriptedServer) -> None:
    await server.ask(**user({"type": "tool_result", "tool_use_id": "toolu_gone", "content": "a.txt"}))
    await server.ask(**history(CALL))
    assert len(server.engine.requests) == 2


async def _uploaded(server: ScriptedServer, name: str, data: bytes, media_type: str) -> str:
    reply = await server.http.post("/v1/files", files={"file": (name, data, media_type)})
    return str(reply.json()["id"])


@requirement("block:image:file")
async def test_an_uploaded_image_reaches_the_engine(server: ScriptedServer) -> None:
    file_id = await _uploaded(server, "a.png", PIXELS, "image/png")
    await server.ask(**user({"type": "image", "source": {"type": "file", "file_id": file_id}}))
    assert server.parts() == [ImagePart(media_type="image/png", data=PIXELS)]


@requirement("block:document:file")
async def test_an_uploaded_document_reaches_the_engine(server: ScriptedServer) -> None:
    file_id = await _uploaded(server, "a.md", b"# Tides", "text/markdown")
    block = {"type": "document", "title": "T", "source": {"type": "file", "file_id": file_id}}
    await server.ask(**user(block))
    text = "".join(part.text for part in server.parts() if isinstance(part, TextPart))
    assert text == "<document>\n<title>T</title>\n# Tides\n</document>"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("image", marks=requirement("block:image:file")),
        pytest.param("document", marks=requirement("block:document:file")),
    ],
)
async def test_a_file_that_is_unknown_is_not_found(server: ScriptedServer, kind: str) -> None:
    block = {"type": kind, "source": {"type": "file", "file_id": "file_1"}}
    assert (await server.post(**user(block))).status_code == 404

"""A server whose model sees, as a user runs it: a projector beside the model, and nothing else said.

Ours. Eyes of random weights: what the model makes of an image means nothing, and is not asked for.
"""

from __future__ import annotations

import base64
import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(300)]

PLACE = "messages.0.content.1.source.data"


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").point(lambda value: (value * shade) % 256).convert("RGB").save(out, "PNG")
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a thousandth of its size, well-formed to the end: nothing but zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    squeezer = zlib.compressobj(9)
    rows = b"".join(squeezer.compress(bytes(1 + 3 * width)) for _ in range(height)) + squeezer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def asking(data: bytes, *, shown_by_a_tool: bool = False, **more: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()}
    image: dict[str, Any] = {"type": "image", "source": source}
    if shown_by_a_tool:
        image = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}
    content = [{"type": "text", "text": "What is this?"}, image]
    return {
        "model": "claude-x",
        "max_tokens": 8,
        "temperature": 0,
        "messages": [{"role": "user", "content": content}],
        **more,
    }


@pytest.fixture(scope="module")
def server(
    start_shared_server: Callable[..., Any],
    starter_model: Path,
    projector: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    folder = tmp_path_factory.mktemp("models")
    model = folder / starter_model.name
    model.symlink_to(starter_model)
    shutil.copy(projector, folder / "mmproj-F16.gguf")
    return start_shared_server("--model", str(model), "--ctx", "2048")


def usage(server: Any, body: dict[str, Any]) -> dict[str, int]:
    answer = server.post(body)
    assert answer.status_code == 200, answer.text + server.tail()
    found: dict[str, int] = answer.json()["usage"]
    return found


def test_the_projector_beside_the_model_is_found_and_told_of(server: Any) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    (first, *_) = httpx2.get(f"{server.url}/v1/models", headers=headers, timeout=30).json()["data"]
    assert first["capabilities"]["image_input"]["supported"] is True


def test_an_image_is_counted_as_it_is_charged_and_computed_once(server: Any) -> None:
    body = asking(png(3))
    counted = server.post({**body, "max_tokens": None}, "/v1/messages/count_tokens").json()["input_tokens"]
    first, again, other = [usage(server, asking(png(shade))) for shade in (3, 3, 5)]
    assert first["input_tokens"] == counted
    assert (again["input_tokens"], again["cache_read_input_tokens"]) == (1, counted - 1)
    assert other["input_tokens"] > 4, "another image is computed"
    with server.stream(asking(png(3))) as events:
        assert [event["type"] for event in events][-1] == "message_stop"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(7)[:300], "Could not process image"),
        (b"no image at all", "Could not process image"),
        (b"", "image cannot be empty"),
        (bomb(20_000, 9_000), "At least one of the image dimensions exceed max allowed size: 8000 pixels"),
    ],
    ids=["cut", "text", "empty", "bomb"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_image_is_a_400_with_its_place_and_the_server_goes_on(
    server: Any, data: bytes, said: str, *, stream: bool
) -> None:
    answer = server.post(asking(data, stream=stream))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith(f"{PLACE}: {said}")
    assert usage(server, asking(png(3)))["output_tokens"] > 0
    assert len(server.workers()) == 1


def test_a_model_without_a_projector_says_what_to_do_and_survives_what_tools_show(
    start_server: Callable[..., Any], starter_model: Path
) -> None:
    """Claude Code's Read shows what it finds; the session must go on."""
    blind = start_server("--model", str(starter_model), "--ctx", "2048")
    refused = blind.post(asking(png(3)))
    assert refused.status_code == 400
    message = refused.json()["error"]["message"]
    assert message.startswith(f"{PLACE}: Could not process image: this model cannot see. ")
    assert "--projector" in message
    assert usage(blind, asking(png(3), shown_by_a_tool=True))["output_tokens"] > 0

"""Builders for the tests of the benchmark, and a server of a few lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest
from client import Block, Timeline


@pytest.fixture
def timeline() -> Callable[..., Timeline]:
    """Make timelines of which only what matters is said."""

    def make(
        *,
        sent_at: float = 0.0,
        stamps: Sequence[float] = (1.0,),
        computed: int = 0,
        cached: int = 0,
        output: int = 1,
        content: Sequence[Block] = (),
        stop_reason: str | None = "end_turn",
    ) -> Timeline:
        return Timeline(
            sent_at=sent_at,
            first_byte_s=0.0,
            stamps=tuple(stamps),
            input_tokens=computed,
            cached_tokens=cached,
            created_tokens=0,
            output_tokens=output,
            content=tuple(content),
            stop_reason=stop_reason,
        )

    return make


@pytest.fixture
def stream() -> Callable[..., list[dict[str, Any]]]:
    """Make the events of an answer, as the Messages API streams them."""

    def make(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], **usage: int) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {"input_tokens": 9}}}]
        for index, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage}
        return [*events, end, {"type": "message_stop"}]

    return make


BOUND_S = 10.0


@attrs.define
class Upstream:
    """What the server plays, and what it met."""

    port: int = 0
    status: int = 200
    events: list[dict[str, Any]] = attrs.field(factory=list)
    endless: bool = False
    asked: list[str] = attrs.field(factory=list)
    met: list[tuple[str, dict[str, str], dict[str, Any]]] = attrs.field(factory=list)
    left: threading.Event = attrs.field(factory=threading.Event)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Serve on loopback whatever the test says, and note what was asked."""
    play = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            play.asked.append(self.path)
            self.send_response(play.status)
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            play.met.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(play.status)
            self.end_headers()
            try:
                self.write(play.events)
                while play.endless:
                    self.write([{"type": "ping"}])
            except OSError:
                play.left.set()

        def write(self, events: list[dict[str, Any]]) -> None:
            for event in events:
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        play.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield play
        play.endless = False
        server.shutdown()
        thread.join(BOUND_S)

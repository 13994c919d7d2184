"""What a server streams, read as pieces of an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pensieve_cli.errors import CommandError
from pensieve_cli.model_commands.chat import Ending, History, Text, Thought
from pensieve_cli.model_commands.server_partner import ServerPartner, read_events
from pensieve_cli.server_client import ServerClient

_START = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 0, "x": None}}}
_LAST = {
    "type": "message_delta",
    "delta": {"stop_reason": "max_tokens"},
    "usage": {"input_tokens": 4, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 6, "output_tokens": 2},
}
_STOP = {"type": "message_stop"}


def _lines(*events: dict[str, Any]) -> Iterator[bytes]:
    for event in events:
        yield f"event: {event['type']}\n".encode()
        yield f"data: {json.dumps(event)}\n".encode()
        yield b"\n"


def _delta(**delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def test_texts_and_thoughts_are_pieces_and_the_last_usage_counts() -> None:
    events = (
        _START,
        {"type": "ping"},
        _delta(type="thinking_delta", thinking="hm"),
        _delta(type="signature_delta", signature="s"),
        _delta(type="text_delta", text=""),
        _delta(type="text_delta", text="one"),
        _LAST,
        _STOP,
    )
    ending = Ending(stop_reason="max_tokens", prompt_tokens=40, cached_tokens=30, generated_tokens=2)
    assert list(read_events(_lines(*events))) == [Thought("hm"), Text("one"), ending]


def test_an_error_in_the_middle_is_told() -> None:
    pieces = read_events(
        _lines(_START, _delta(type="text_delta", text="one"), {"type": "error", "error": {"message": "no"}})
    )
    assert next(pieces) == Text("one")
    with pytest.raises(CommandError, match="no"):
        next(pieces)


def test_a_stream_that_just_ends_is_no_answer() -> None:
    with pytest.raises(CommandError, match="broke off"):
        list(read_events(_lines(_START, _LAST)))


def test_a_real_server_answers(start_server: Callable[..., Any]) -> None:
    partner = ServerPartner(client=ServerClient(url=start_server().url), model="tiny")
    *said, ending = partner.answer(History(system="s", max_tokens=10).question("hi"))
    assert "".join(piece.text for piece in said if isinstance(piece, Text)) == "0 1 2 3 "
    assert isinstance(ending, Ending)
    assert (ending.stop_reason, ending.generated_tokens) == ("end_turn", 4)


def test_what_speaks_another_language_is_told() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    partner = ServerPartner(client=ServerClient(url=f"http://127.0.0.1:{server.server_address[1]}"), model="m")
    with pytest.raises(CommandError, match="status 500"):
        list(partner.answer(History(system="", max_tokens=1).question("hi")))
    thread.join(10)
    server.server_close()


def test_a_refusal_and_a_server_that_is_gone_are_told(start_server: Callable[..., Any]) -> None:
    url = start_server().url
    refused = ServerPartner(client=ServerClient(url=url), model="nobody")
    with pytest.raises(CommandError, match="nobody"):
        list(refused.answer(History(system="", max_tokens=10).question("hi")))
    gone = ServerPartner(client=ServerClient(url="http://127.0.0.1:1"), model="tiny")
    with pytest.raises(CommandError, match="broke off"):
        list(gone.answer(History(system="", max_tokens=10).question("hi")))

"""One streamed request over `/v1/messages`, with its timeline. Both servers speak it.

`Reading` is the pure part: events in, a `Timeline` out. `send` and `send_and_leave` are the socket around it.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

__all__ = ["Block", "Reading", "Refused", "Timeline", "question", "send", "send_and_leave"]

Block: TypeAlias = Mapping[str, Any]
"""A content block, as a client sends it back."""

_TIMEOUT_S = 900
_HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01"}


class Refused(Exception):  # noqa: N818 - what the server did, and no fault of ours
    """The server answered with an error, as a status or as an event."""


@attrs.frozen(kw_only=True)
class Timeline:
    """What one request brought, and when; seconds since it was sent."""

    sent_at: float
    """On the clock of `time.perf_counter`."""
    first_byte_s: float
    stamps: tuple[float, ...]
    """When pieces of the answer came; one piece may hold several tokens. The end, if there was none before."""
    input_tokens: int
    """Prompt tokens that the server computed and does not promise to keep."""
    cached_tokens: int
    created_tokens: int
    """Prompt tokens that the server computed and keeps."""
    output_tokens: int
    content: tuple[Block, ...]
    stop_reason: str | None
    """None: we left before the end."""

    @property
    def computed_tokens(self) -> int:
        """Prompt tokens that were not in the cache."""
        return self.input_tokens + self.created_tokens

    @property
    def prompt_tokens(self) -> int:
        """All three input figures together."""
        return self.computed_tokens + self.cached_tokens

    @property
    def first_token_s(self) -> float:
        """Until the first piece of the answer."""
        return self.stamps[0]

    @property
    def text(self) -> str:
        """The answer's text, without calls."""
        return "".join(block["text"] for block in self.content if block["type"] == "text")

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first, per second."""
        return (self.output_tokens - 1) / max(1e-9, self.stamps[-1] - self.stamps[0])

    @property
    def prefill_tokens_per_s(self) -> float:
        """Uncached prompt tokens per second until the first token."""
        return self.computed_tokens / self.first_token_s


class Reading:
    """An answer as it comes."""

    def __init__(self, sent_at: float) -> None:
        self._sent_at = sent_at
        self._first_byte_s: float | None = None
        self._last_s = 0.0
        self._stamps: list[float] = []
        self._usage: dict[str, int] = {}
        self._blocks: list[dict[str, Any]] = []
        self._arguments = ""
        self._stop_reason: str | None = None

    @property
    def pieces(self) -> int:
        """How many pieces of the answer have come."""
        return len(self._stamps)

    def feed(self, event: Mapping[str, Any], now: float) -> None:
        """Take an event that came `now`, on the clock of `sent_at`.

        Raises:
            Refused: it is an error.
        """
        if "error" in event or event.get("type", "error").endswith("error"):  # llama-server's have a form of their own
            raise Refused(json.dumps(event))
        self._last_s = now - self._sent_at
        self._first_byte_s = self._last_s if self._first_byte_s is None else self._first_byte_s
        self._note_usage(event.get("usage") or event.get("message", {}).get("usage") or {})
        match event["type"]:
            case "content_block_start":
                self._start(event["content_block"])
            case "content_block_delta":
                self._grow(event["delta"])
            case "content_block_stop":
                self._complete()
            case "message_delta":
                self._stop_reason = event["delta"].get("stop_reason")
            case _:
                pass

    def timeline(self) -> Timeline:
        """Return what has come."""
        return Timeline(
            sent_at=self._sent_at,
            first_byte_s=self._first_byte_s or 0.0,
            stamps=tuple(self._stamps) or (self._last_s,),
            input_tokens=self._usage.get("input_tokens", 0),
            cached_tokens=self._usage.get("cache_read_input_tokens", 0),
            created_tokens=self._usage.get("cache_creation_input_tokens", 0),
            output_tokens=self._usage.get("output_tokens", 0),
            content=tuple(self._blocks),
            stop_reason=self._stop_reason,
        )

    def _note_usage(self, usage: Mapping[str, Any]) -> None:
        self._usage.update({name: value for name, value in usage.items() if isinstance(value, int)})

    def _start(self, block: Mapping[str, Any]) -> None:
        self._blocks.append(dict(block))
        self._arguments = ""
        if block["type"] == "tool_use":
            self._stamps.append(self._last_s)

    def _grow(self, delta: Mapping[str, Any]) -> None:
        block = self._blocks[-1]
        piece = ""
        match delta["type"]:
            case "text_delta":
                piece = delta["text"]
                block["text"] += piece
            case "thinking_delta":
                piece = delta["thinking"]
                block["thinking"] += piece
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "input_json_delta":
                piece = delta["partial_json"]
                self._arguments += piece
            case _:
                pass
        if piece:
            self._stamps.append(self._last_s)

    def _complete(self) -> None:
        if self._blocks[-1]["type"] == "tool_use":
            self._blocks[-1]["input"] = _parsed(self._arguments)


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:  # cut off by max_tokens
        return {}


def question(prompt: str, *, max_tokens: int, system: str | None = None) -> dict[str, Any]:
    """Return the body of a greedy request with one user turn."""
    return {
        "model": "claude-bench",
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "messages": [{"role": "user", "content": prompt}],
        **({"system": system} if system else {}),
    }


def send(
    port: int,
    body: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    watch: Callable[[Reading], bool] = lambda _: False,
) -> Timeline:
    """Send one request, and read its stream to the end.

    Args:
        port: Where on loopback.
        body: The request.
        headers: Beside the usual ones.
        watch: Called after each event; when it returns True we leave, and the server sees a client that is gone.

    Raises:
        Refused: the server answered with an error.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    reading = Reading(time.perf_counter())
    try:
        _post(connection, body, headers or {})
        for event in _events(connection.getresponse()):
            reading.feed(event, time.perf_counter())
            if watch(reading):
                break
    finally:
        connection.close()
    return reading.timeline()


def send_and_leave(port: int, body: Mapping[str, Any], *, after_s: float) -> None:
    """Send one request, and hang up `after_s` seconds later, whatever has come by then."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    _post(connection, body, {})
    time.sleep(after_s)
    connection.close()


def _post(connection: http.client.HTTPConnection, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    connection.request("POST", "/v1/messages", json.dumps(body), {**_HEADERS, **headers})


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    if response.status != 200:
        msg = f"{response.status}: {response.read()[:500]!r}"
        raise Refused(msg)
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])

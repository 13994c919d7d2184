"""One streamed request over `/v1/messages`, with its timeline. Both servers speak it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["Timeline", "ask"]

_TIMEOUT_S = 600


@attrs.frozen(kw_only=True)
class Timeline:
    """What one request brought, and when; seconds since it was sent."""

    first_byte_s: float
    first_token_s: float
    last_token_s: float
    prompt_tokens: int
    """All three input figures together."""
    cached_tokens: int
    output_tokens: int
    text: str

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first, per second."""
        return (self.output_tokens - 1) / max(1e-9, self.last_token_s - self.first_token_s)

    @property
    def prefill_tokens_per_s(self) -> float:
        """Uncached prompt tokens per second until the first token."""
        return (self.prompt_tokens - self.cached_tokens) / self.first_token_s


def ask(port: int, prompt: str, *, max_tokens: int, system: str | None = None) -> Timeline:
    """Send one greedy request, and read its stream to the end."""
    body = {
        "model": "claude-bench",
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "messages": [{"role": "user", "content": prompt}],
        **({"system": system} if system else {}),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    began = time.perf_counter()
    connection.request(
        "POST",
        "/v1/messages",
        json.dumps(body),
        {"content-type": "application/json", "anthropic-version": "2023-06-01"},
    )
    try:
        return _read(_events(connection.getresponse()), began)
    finally:
        connection.close()


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    if response.status != 200:
        msg = f"{response.status}: {response.read()[:500]!r}"
        raise RuntimeError(msg)
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def _read(events: Iterator[dict[str, Any]], began: float) -> Timeline:
    stamps: list[float] = []
    texts: list[str] = []
    usage: dict[str, Any] = {}
    first_byte = None
    for event in events:
        now = time.perf_counter() - began
        first_byte = now if first_byte is None else first_byte
        usage.update(event.get("usage") or event.get("message", {}).get("usage") or {})
        text = event.get("delta", {}).get("text")
        if text:
            stamps.append(now)
            texts.append(text)
    cached = usage.get("cache_read_input_tokens") or 0
    created = usage.get("cache_creation_input_tokens") or 0
    return Timeline(
        first_byte_s=first_byte or 0.0,
        first_token_s=stamps[0],
        last_token_s=stamps[-1],
        prompt_tokens=usage["input_tokens"] + cached + created,
        cached_tokens=cached,
        output_tokens=usage["output_tokens"],
        text="".join(texts),
    )

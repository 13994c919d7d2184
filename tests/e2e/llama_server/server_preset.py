"""Stands in for `utils.py` of llama.cpp's server tests: the same names, and Pensieve behind them.

Copied beside their `test_compat_anthropic.py` as `utils.py` (see `test_llama_server_compat.py`). The server runs
already, at $PENSIEVE_URL, with the starter model; what a test sets of llama-server (slots, batches, templates) has no
effect.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import attrs
import httpx2

__all__ = ["ServerPreset", "ServerProcess"]

_BOUND_S = 120


@attrs.frozen(kw_only=True)
class _Answer:
    status_code: int
    body: Any


class ServerProcess:
    """Takes any attribute, as theirs does, and heeds none."""

    def __setattr__(self, name: str, value: object) -> None:
        """Forget it: the server runs already."""

    def start(self, timeout_seconds: float = 0.0) -> None:
        """Do nothing: the server runs already."""

    def make_request(self, method: str, path: str, data: object = None) -> _Answer:
        """Return status and parsed body."""
        reply = httpx2.request(method, os.environ["PENSIEVE_URL"] + path, json=data, timeout=_BOUND_S)
        return _Answer(status_code=reply.status_code, body=reply.json())

    def make_stream_request(self, method: str, path: str, data: object = None) -> Iterator[Any]:
        """Yield the payloads of the events."""
        reply = httpx2.request(method, os.environ["PENSIEVE_URL"] + path, json=data, timeout=_BOUND_S)
        assert reply.status_code == 200, reply.text
        for line in reply.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


class ServerPreset:
    """The two presets that the tests ask for."""

    @staticmethod
    def tinyllama2() -> ServerProcess:
        """Return the server that runs."""
        return ServerProcess()

    @staticmethod
    def tinygemma3() -> ServerProcess:
        """Return the same one: it cannot see."""
        return ServerProcess()

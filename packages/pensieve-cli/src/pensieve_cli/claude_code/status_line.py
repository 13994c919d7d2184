"""`pensieve-server statusline`: one line under Claude Code's prompt. Reads Claude Code's JSON, asks the server, prints.

It is started anew every second, so it imports next to nothing (no attrs, no http.client: 20 ms each), and waits for
nobody. Nothing that goes wrong here is worth a traceback in somebody's editor: then the line says less, or is empty.

    ● qwen2.5-coder-1.5b · prefill 43% of 21,504, 310 tok/s
    ● qwen2.5-coder-1.5b · answering, 312 tokens, 24.8 tok/s · context 24.0k of 32.8k · cache 98%
    ● qwen2.5-coder-1.5b · 25.1 tok/s · context 24.0k of 32.8k · cache 98%
    ○ pensieve does not answer on http://127.0.0.1:8000
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from typing import Any, BinaryIO

__all__ = ["fetch_status", "run", "status_line"]

_DEFAULT_URL = "http://127.0.0.1:8000"
_PATIENCE_S = 0.5
_MOST_BYTES = 1_000_000
_HASH_DIGITS = 12  # as in the server's log

_Json = Mapping[str, Any]


def run(stdin: BinaryIO, stdout: BinaryIO, variables: Mapping[str, str]) -> int:
    """Print the line for the session on `stdin`, and return 0, whatever happens. `variables`: the environment."""
    try:
        url = variables.get("ANTHROPIC_BASE_URL") or _DEFAULT_URL
        session = {} if stdin.isatty() else _object(json.loads(stdin.read() or b"{}"))
        line = status_line(session, fetch_status(url, variables.get("ANTHROPIC_AUTH_TOKEN")), url)
    except Exception:  # noqa: BLE001 - an edge of the program, and one that nobody debugs from
        line = ""
    stdout.write(f"{line}\n".encode("utf-8", "replace"))
    return 0


def status_line(session: _Json, status: _Json | None, url: str) -> str:
    """Return the line.

    Args:
        session: What Claude Code tells a status line: `session_id`, `model.id`…
        status: What `GET /status` answered; None: nothing.
        url: Of the server.
    """
    if status is None:
        return f"○ pensieve does not answer on {url}"
    model = _model(session, status)
    engine = _engine(status, model)
    if engine is not None and engine.get("phase") == "loading":
        return f"◐ {model} is loading ({_number(engine, 'progress'):.0%})"
    if not status.get("ready"):
        return f"◐ {model}: {status.get('reason')}"
    own = _hashed(session)
    doing = _doing(status, own)
    return " · ".join((f"● {model}", *doing, *_did(status, own, engine or {}, told_speed=bool(doing))))


def fetch_status(url: str, key: str | None) -> _Json | None:
    """Return what the server answers; None when it does not, in half a second. HTTP by hand: that takes no time."""
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    head = f"GET /status HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n"
    request = f"{head}x-api-key: {key}\r\n\r\n" if key else f"{head}\r\n"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S) as connection:
            connection.sendall(request.encode())
            answer = _all_of(connection)
    except (OSError, ValueError):
        return None
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    return _object(json.loads(body)) if head.split(" ")[1:2] == ["200"] else None


def _all_of(connection: socket.socket) -> bytes:
    pieces = bytearray()
    while (piece := connection.recv(65_536)) and len(pieces) < _MOST_BYTES:
        pieces += piece
    return bytes(pieces)


def _object(value: object) -> _Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[_Json]:
    return [_object(item) for item in value] if isinstance(value, list) else []


def _number(of: _Json, name: str) -> float:
    value = of.get(name)
    return value if isinstance(value, int | float) else 0


def _hashed(session: _Json) -> str | None:
    identifier = session.get("session_id")
    return hashlib.sha256(identifier.encode()).hexdigest()[:_HASH_DIGITS] if isinstance(identifier, str) else None


def _model(session: _Json, status: _Json) -> str:
    chosen = _object(session.get("model")).get("id")
    return str(chosen if _engine(status, chosen) is not None else status.get("default_model"))


def _engine(status: _Json, model: object) -> _Json | None:
    return next((engine for engine in _objects(status.get("engines")) if engine.get("model") == model), None)


def _doing(status: _Json, own: str | None) -> list[str]:
    """Say what is computed now, for this session or, if nothing is, for others."""
    running = _objects(status.get("running"))
    mine = [request for request in running if request.get("session") == own]
    if not mine:
        return [f"busy with {len(running)} of others"] if running else []
    request = min(mine, key=lambda request: request.get("role") != "main")
    agents = [f"{len(mine)} requests"] if len(mine) > 1 else []
    return [_phase(request), *agents]


def _phase(request: _Json) -> str:
    if request.get("phase") == "decode":
        return _answering(_number(request, "generated_tokens"), _number(request, "decode_tokens_per_s"))
    if request.get("phase") != "prefill":
        return "waiting"
    total = _number(request, "prompt_tokens")
    done = _number(request, "processed_tokens") / total if total else 0.0
    speed = _number(request, "prefill_tokens_per_s")
    return f"prefill {done:.0%} of {total:,}" + (f", {speed:,.0f} tok/s" if speed else "")


def _answering(tokens: float, speed: float) -> str:
    return "answering" + (f", {tokens:,} tokens" if tokens else "") + (f", {speed:,.1f} tok/s" if speed else "")


def _did(status: _Json, own: str | None, engine: _Json, *, told_speed: bool) -> list[str]:
    """Say what the last answer of the session itself was like; how fast, unless something is going on now."""
    answers = (of for of in _objects(status.get("answered")) if of.get("session") == own and of.get("role") == "main")
    last = next(answers, None)
    if last is None:
        return []
    prompt, speed = _number(last, "prompt_tokens"), _number(last, "decode_tokens_per_s")
    used = _context(prompt + _number(last, "generated_tokens"), _number(engine, "context_tokens"))
    hit = f"cache {_number(last, 'cached_tokens') / prompt:.0%}" if prompt else ""
    return [part for part in (f"{speed:,.1f} tok/s" if speed and not told_speed else "", used, hit) if part]


def _context(used: float, of: float) -> str:
    return f"context {used / 1_000:.1f}k of {of / 1_000:.1f}k" if of else ""

from __future__ import annotations

import hashlib
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.claude_code.status_line import fetch_status, run, status_line

_URL = "http://127.0.0.1:8000"
_OWN = hashlib.sha256(b"s-1").hexdigest()[:12]
_SESSION = {"session_id": "s-1", "model": {"id": "m"}}
_READY = {"model": "m", "phase": "ready", "context_tokens": 32_768}
_ANSWER = {
    "session": _OWN,
    "role": "main",
    "prompt_tokens": 20_000,
    "cached_tokens": 19_000,
    "generated_tokens": 500,
    "decode_tokens_per_s": 25.14,
}


def _status(**facts: Any) -> dict[str, Any]:
    return {"ready": True, "default_model": "m", "engines": [_READY], **facts}


def _request(phase: str, **facts: Any) -> dict[str, Any]:
    return {"session": _OWN, "role": "main", "phase": phase, "prompt_tokens": 20_000, "processed_tokens": 0, **facts}


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (None, "○ pensieve does not answer on http://127.0.0.1:8000"),
        (_status(), "● m"),
        (_status(engines=[{**_READY, "phase": "loading", "progress": 0.4}]), "◐ m is loading (40%)"),
        (_status(ready=False, reason="the server is shutting down"), "◐ m: the server is shutting down"),
        (_status(answered=[_ANSWER]), "● m · 25.1 tok/s · context 20.5k of 32.8k · cache 95%"),
        (_status(running=[_request("waiting")]), "● m · waiting"),
        (
            _status(running=[_request("prefill", processed_tokens=8_600, prefill_tokens_per_s=310.4)]),
            "● m · prefill 43% of 20,000, 310 tok/s",
        ),
        (_status(running=[_request("prefill")]), "● m · prefill 0% of 20,000"),
        (
            _status(running=[_request("decode", generated_tokens=312, decode_tokens_per_s=24.83)], answered=[_ANSWER]),
            "● m · answering, 312 tokens, 24.8 tok/s · context 20.5k of 32.8k · cache 95%",
        ),
        (_status(running=[_request("decode", session="another")]), "● m · busy with 1 of others"),
        (_status(running=[_request("waiting", role="agent"), _request("decode")]), "● m · answering · 2 requests"),
        (_status(answered=[{**_ANSWER, "session": "another"}, {**_ANSWER, "role": "background"}]), "● m"),
    ],
)
def test_the_line_says_what_is_known(status: dict[str, Any] | None, line: str) -> None:
    assert status_line(_SESSION, status, _URL) == line


def test_a_model_that_the_server_does_not_know_is_the_default_one() -> None:
    # Claude Code shows its own name for it until the first answer.
    assert status_line({"model": {"id": "claude-opus-4-8"}}, _status(), _URL) == "● m"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_ANSWER, *_READY, *_status(), "running", "answered"]), inner, max_size=5)
    ),
)


@given(_JSON, _JSON)
def test_whatever_comes_in_the_command_prints_one_line_and_ends_well(session: object, status: object) -> None:
    """Ours: never an error in somebody's editor."""
    output = io.BytesIO()
    with _answers(json.dumps(status).encode()) as url:
        assert run(io.BytesIO(json.dumps(session).encode()), output, {"ANTHROPIC_BASE_URL": url}) == 0
    assert output.getvalue().count(b"\n") == 1


@contextmanager
def _answers(body: bytes, status: str = "200 OK") -> Iterator[str]:
    """Answer one request, in two pieces."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer, args=(listening, body, status))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


def _answer(listening: socket.socket, body: bytes, status: str) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        connection.sendall(body)


def test_the_server_is_asked_by_hand() -> None:
    with _answers(b'{"ready": true}') as url:
        assert fetch_status(f"{url}/", "key") == {"ready": True}


def test_an_answer_that_is_no_status_is_none() -> None:
    with _answers(b"{}", "404 Not Found") as url:
        assert fetch_status(url, None) is None


@pytest.mark.parametrize("url", ["https://api.example.com", "http://127.0.0.1:1", "http://127.0.0.1", ""])
def test_nobody_and_nonsense_are_no_status(url: str) -> None:
    assert fetch_status(url, None) is None


def test_a_server_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # takes connections, and never answers
        assert fetch_status(f"http://127.0.0.1:{listening.getsockname()[1]}", None) is None


def test_input_that_is_no_json_is_an_empty_line() -> None:
    output = io.BytesIO()
    assert run(io.BytesIO(b"{"), output, {}) == 0
    assert output.getvalue() == b"\n"


def test_the_command_says_who_does_not_answer(run_command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_command("statusline", ANTHROPIC_BASE_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "○ pensieve does not answer on http://127.0.0.1:1\n"


def test_it_is_quick_for_it_imports_next_to_nothing() -> None:
    """Ours: 50 ms. Measured: 30 ms, of which Python itself is 12; but times are no test on a busy machine."""
    program = (
        "import sys; from pensieve_cli.main import main; main(['statusline']); "
        "print(*(name for name in sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input="{}", capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stderr.split())
    assert "pensieve_cli.claude_code.status_line" in imported
    assert not imported & {"attrs", "cattrs", "cyclopts", "rich", "starlette", "asyncio", "http.client"}

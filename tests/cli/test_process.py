"""The real command as a real process: what it prints, how it refuses to start, and how it goes down."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import psutil
import pytest

_BOUND_S = 60.0
_LONG = {"model": "tiny", "max_tokens": 1000, "messages": [{"role": "user", "content": "count"}]}
_SHORT = {**_LONG, "max_tokens": 10}
_HEADERS = {"anthropic-version": "2023-06-01"}


@contextmanager
def _stream(server: Any, body: dict[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
    with (
        httpx2.Client(timeout=_BOUND_S) as client,
        client.stream("POST", f"{server.url}/v1/messages", json={**body, "stream": True}, headers=_HEADERS) as answer,
    ):
        assert answer.status_code == 200
        yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))


def _until_text(events: Iterator[dict[str, Any]]) -> None:
    next(event for event in events if event.get("delta", {}).get("text"))


def test_the_banner_is_on_stdout_and_the_log_on_stderr(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with _stream(server, _SHORT) as events:
        assert [event["type"] for event in events][-1] == "message_stop"
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0
    banner = server.process.stdout.read()
    assert f"ANTHROPIC_BASE_URL={server.url} " in banner
    assert "ready" in banner
    assert "plays scripts" in banner
    assert "\x1b" not in banner
    events_logged = [record["event"] for record in server.records()]
    for event in ("server_listening", "model_loaded", "request_finished", "drain_began", "server_stopped"):
        assert event in events_logged


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_an_answer_lets_it_run_until_the_deadline_and_then_tells_the_client(
    start_server: Callable[..., Any], sign: signal.Signals
) -> None:
    """Ours; on Python 3.12 and later Hypercorn alone would wait for the end of the answer, a minute."""
    server = start_server("--drain-seconds", "1")
    with _stream(server, _LONG) as events:
        _until_text(events)
        began = time.monotonic()
        server.process.send_signal(sign)
        rest = list(events)
        told_after = time.monotonic() - began
    assert server.end() == 0
    ended_after = time.monotonic() - began
    assert sum(event["type"] == "content_block_delta" for event in rest) >= 3
    assert rest[-1]["type"] == "error"
    assert rest[-1]["error"]["type"] == "overloaded_error"
    assert told_after > 0.9
    assert ended_after < 30, "it did not wait for the end of the answer"


def test_an_answer_that_ends_before_the_deadline_is_whole(start_server: Callable[..., Any]) -> None:
    server = start_server("--drain-seconds", "60")
    with _stream(server, _SHORT) as events:
        _until_text(events)
        server.process.send_signal(signal.SIGTERM)
        assert list(events)[-1]["type"] == "message_stop"
    assert server.end() == 0


def test_while_it_goes_down_new_requests_are_refused_as_overload(start_server: Callable[..., Any]) -> None:
    server = start_server("--drain-seconds", "60")
    with _stream(server, {**_LONG, "max_tokens": 99}) as events:
        _until_text(events)
        server.process.send_signal(signal.SIGTERM)
        _until_logged(server, "drain_began")
        refused = httpx2.post(f"{server.url}/v1/messages", json=_SHORT, headers=_HEADERS, timeout=_BOUND_S)
        assert refused.status_code == 529
        list(events)
    assert server.end() == 0


def test_a_second_signal_ends_it_at_once(start_server: Callable[..., Any]) -> None:
    server = start_server("--drain-seconds", "600")
    with _stream(server, _LONG) as events:
        _until_text(events)
        server.process.send_signal(signal.SIGINT)
        _until_logged(server, "drain_began")
        server.process.send_signal(signal.SIGINT)
        assert server.end() == 130, "it did not wait for the drain of ten minutes"
    assert "server_interrupted" in [record["event"] for record in server.records()]
    assert not [record for record in server.records() if record["level"] == "error"]


def test_a_client_that_has_gone_silent_does_not_keep_it_alive(start_server: Callable[..., Any]) -> None:
    """An idle connection, and one with half a request: neither ends by itself."""
    server = start_server("--drain-seconds", "1")
    port = int(server.url.rpartition(":")[2])
    with _connection(port, b""), _connection(port, b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Le"):
        _until_logged(server, "model_loaded")
        server.process.send_signal(signal.SIGTERM)
        assert server.end() == 0


def test_engines_that_never_close_are_left_behind_in_time(start_server: Callable[..., Any]) -> None:
    server = start_server(CLI_SCRIPT="hangs")
    _until_logged(server, "model_loaded")
    server.process.send_signal(signal.SIGTERM)
    _until_logged(server, "drain_began")
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 130


def test_a_model_that_cannot_be_loaded_is_told_and_the_server_stays(start_server: Callable[..., Any]) -> None:
    server = start_server(CLI_SCRIPT="broken")
    _until_logged(server, "model_load_failed")
    assert httpx2.get(f"{server.url}/healthz", timeout=_BOUND_S).status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0
    assert "it was made so" in server.process.stdout.read()


def test_a_reader_of_the_banner_who_leaves_does_not_matter(start_server: Callable[..., Any]) -> None:
    """`pensieve-server | head -1`."""
    server = start_server()
    server.process.stdout.close()
    _until_logged(server, "model_loaded")
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0


def test_it_leaves_nothing_behind(start_server: Callable[..., Any]) -> None:
    server = start_server()
    _until_logged(server, "model_loaded")
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0
    assert not psutil.wait_procs(children, timeout=_BOUND_S)[1]


def test_keys_are_asked_for_and_never_written(start_server: Callable[..., Any]) -> None:
    server = start_server("--api-key", "sk-quietly-given", "--log-level", "debug")
    for key, status in (("sk-quietly-wrong", 401), ("sk-quietly-given", 200)):
        headers = {**_HEADERS, "x-api-key": key}
        answer = httpx2.post(f"{server.url}/v1/messages", json=_SHORT, headers=headers, timeout=_BOUND_S)
        assert answer.status_code == status
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0
    assert "sk-quietly" not in server.log.read_text() + server.process.stdout.read()


def test_a_network_without_a_key_is_refused_before_anything_else(
    run_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_command("--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "--unsafe-no-key" in done.stderr
    assert done.stdout == ""


def test_a_taken_port_is_told_in_one_line(
    start_server: Callable[..., Any],
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    scripted_engine: tuple[tuple[str, ...], dict[str, str]],
) -> None:
    arguments, variables = scripted_engine
    port = start_server().url.rpartition(":")[2]
    done = run_command("--port", port, *arguments, **variables)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port} is taken" in done.stderr


def _until_logged(server: Any, event: str) -> None:
    deadline = time.monotonic() + _BOUND_S
    while time.monotonic() < deadline:
        if f'"{event}"' in server.log.read_text():
            return
        assert server.process.poll() is None, server.log.read_text()
        time.sleep(0.02)
    pytest.fail(f"{event} was not logged\n{server.log.read_text()}")


@contextmanager
def _connection(port: int, sent: bytes) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", port), timeout=_BOUND_S) as connection:
        connection.sendall(sent)
        yield

"""Files and batches outlive the server, however it ends: real processes, killed by their ids."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BATCHES = "/v1/messages/batches"
BOUND_S = 60.0


def batch_of(*cues: str, max_tokens: int = 100) -> dict[str, Any]:
    def params(cue: str) -> dict[str, Any]:
        return {"model": "claude", "max_tokens": max_tokens, "messages": [{"role": "user", "content": cue}]}

    return {"requests": [{"custom_id": f"r-{number}", "params": params(cue)} for number, cue in enumerate(cues)]}


def results_of(server: Any, batch_id: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + BOUND_S
    while httpx2.get(f"{server.url}{BATCHES}/{batch_id}", timeout=BOUND_S).json()["processing_status"] != "ended":
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.05)
    results = httpx2.get(f"{server.url}{BATCHES}/{batch_id}/results", timeout=BOUND_S)
    return [json.loads(line) for line in results.text.splitlines()]


def kill(server: Any) -> None:
    """As `kill -9`; its workers end with their sockets."""
    server.process.kill()
    server.process.wait(10)


def runs(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def await_runs(log: Path, count: int) -> None:
    deadline = time.monotonic() + BOUND_S
    while len(runs(log)) < count:
        assert time.monotonic() < deadline, runs(log)
        time.sleep(0.02)


@pytest.fixture
def start(
    start_server: Callable[..., Any], scripted_server_settings: Callable[..., Any], tmp_path: Path
) -> Callable[..., Any]:
    """Start servers that share a data folder and write down which requests reach their engine."""

    def started(*more: str) -> Any:
        arguments, variables = scripted_server_settings("counted", SCRIPTED_LOG=str(tmp_path / "runs"))
        return start_server(*arguments, "--data-dir", str(tmp_path / "data"), *more, **variables)

    return started


def test_a_batch_goes_on_after_a_kill_and_no_request_with_a_result_runs_again(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    """Ours: kill -9 loses at most the requests in flight, and these run again."""
    cues = [f"quick {number}" for number in range(6)] + ["slow a", "slow b", "quick 8", "quick 9"]
    first = start()
    made = first.post(batch_of(*cues), BATCHES).json()
    await_runs(tmp_path / "runs", 8)
    kill(first)
    before = runs(tmp_path / "runs")
    assert sorted(before) == sorted(cues[:8])
    second = start()
    results = results_of(second, made["id"])
    assert [result["custom_id"] for result in results] == [f"r-{number}" for number in range(10)]
    assert {result["result"]["type"] for result in results} == {"succeeded"}
    assert sorted(runs(tmp_path / "runs")[8:]) == sorted(cues[6:])


def test_a_signal_to_stop_lets_running_requests_end_and_keeps_the_others(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    cues = ["slow a", "slow b", "quick 2"]
    first = start("--drain-seconds", "20")
    made = first.post(batch_of(*cues), BATCHES).json()
    await_runs(tmp_path / "runs", 2)
    first.end()
    assert sorted(runs(tmp_path / "runs")) == cues[:2]
    results = results_of(start(), made["id"])
    assert {result["result"]["type"] for result in results} == {"succeeded"}
    assert sorted(runs(tmp_path / "runs")) == sorted(cues)


def test_of_two_servers_on_one_folder_one_runs_the_batch_and_both_tell_of_it(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    servers: Sequence[Any] = [start(), start()]
    cues = [f"quick {number}" for number in range(8)]
    made = servers[1].post(batch_of(*cues), BATCHES).json()
    for server in servers:
        assert len(results_of(server, made["id"])) == 8
    assert sorted(runs(tmp_path / "runs")) == cues


def test_files_are_there_after_a_kill(start: Callable[..., Any]) -> None:
    first = start()
    sent = {"file": ("notes.txt", b"kept" * 100_000, "text/plain")}
    file = httpx2.post(f"{first.url}/v1/files", files=sent, timeout=BOUND_S).json()
    kill(first)
    second = start()
    assert httpx2.get(f"{second.url}/v1/files", timeout=BOUND_S).json()["data"] == [file]
    kept = httpx2.get(f"{second.url}/v1/files/{file['id']}/content", timeout=BOUND_S)
    assert kept.content == b"kept" * 100_000


@pytest.mark.model
def test_a_real_model_answers_a_batch_beside_a_conversation(
    start_server: Callable[..., Any], starter_model: Path
) -> None:
    server = start_server("--model", str(starter_model), "--ctx", "2048")
    made = server.post(batch_of("Say one.", "Say two.", "Say three.", max_tokens=20), BATCHES).json()
    answer = server.post({"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]})
    assert answer.status_code == 200
    results = results_of(server, made["id"])
    assert {result["result"]["type"] for result in results} == {"succeeded"}
    assert all(result["result"]["message"]["usage"]["output_tokens"] > 0 for result in results)

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

_Run = Callable[..., subprocess.CompletedProcess[str]]


def _by_name(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_a_server_is_asked_for_one_token(start_server: Callable[..., Any], run_command: _Run) -> None:
    server = start_server()
    found = _by_name(run_command("doctor", "--json", "--port", server.url.rpartition(":")[2]))
    assert found["round trip"]["text"].startswith("200 in")
    assert found["server"]["level"] == "ok"
    assert found["cache"]["level"] == "ok"


def test_a_machine_without_a_server_and_without_claude_code_is_told_what_to_do(
    run_command: _Run, model_file: Any
) -> None:
    nowhere = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    done = run_command("doctor", "--port", "1", "--model", str(model_file), **nowhere)
    assert done.returncode == 1
    assert "nothing listens" in done.stdout
    assert "npm install" in done.stdout
    assert len(done.stdout.splitlines()) <= 24


def test_the_engine_tells_what_it_was_built_for(
    run_command: _Run, model_file: Any, check_json: Callable[[str, str], Any]
) -> None:
    done = run_command("doctor", "--json", "--port", "1", "--model", str(model_file))
    assert check_json("doctor", done.stdout)
    found = _by_name(done)
    assert "llama.cpp" in found["engine"]["text"]
    assert found["CPU"]["level"] in ("ok", "note")


def test_a_server_that_needs_a_key_is_told(start_server: Callable[..., Any], run_command: _Run) -> None:
    server = start_server("--api-key", "sk-mine")
    port = server.url.rpartition(":")[2]
    assert "wants a key" in _by_name(run_command("doctor", "--json", "--port", port))["server"]["text"]
    keyed = _by_name(run_command("doctor", "--json", "--port", port, "--api-key", "sk-mine"))
    assert keyed["round trip"]["text"].startswith("200 in")


@pytest.mark.parametrize("arguments", [["doctor", "--", "-p"], ["serve", "--", "x"]])
def test_only_claude_takes_words_behind_a_dash_dash(run_command: _Run, arguments: list[str]) -> None:
    done = run_command(*arguments)
    assert done.returncode == 2
    assert "only claude" in done.stderr

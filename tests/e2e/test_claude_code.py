"""The real Claude Code against the real server, with nothing set but the base URL (and a key that nobody checks)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MODELS = Path(os.environ.get("PENSIEVE_TEST_MODELS", Path.home() / ".cache" / "pensieve-test-models"))
CODER = MODELS / "qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"


@pytest.fixture
def scripted(start_server: Callable[..., Any], scripted_server_settings: Callable[..., Any]) -> Callable[..., Any]:
    def start(scenario: str, **variables: str) -> Any:
        arguments, variables = scripted_server_settings(scenario, **variables)
        return start_server(*arguments, **variables)

    return start


@pytest.mark.model
def test_it_prints_the_words_of_the_starter_model(
    claude_code: Any, terse: Mapping[str, str], start_server: Callable[..., Any], starter_model: Path
) -> None:
    server = start_server("--model", str(starter_model), "--ctx", "2048")
    said = claude_code.run("Say hello.", "--bare", url=server.url, **terse)
    assert said.returncode == 0, said.stdout + said.stderr + server.tail()
    assert said.stdout.strip()


def test_it_runs_two_tools_and_answers(claude_code: Any, scripted: Callable[..., Any]) -> None:
    server = scripted("two_tools", SCRIPTED_WORK=str(claude_code.work))
    said = claude_code.run("Make two files.", "--allowedTools", "Bash,Write,Read", url=server.url)
    assert said.returncode == 0, said.stdout + said.stderr + server.tail()
    assert (claude_code.work / "one.txt").read_text() == "one\n"
    assert (claude_code.work / "two.txt").read_text() == "two\n"
    assert "First: one" in said.stdout  # what Bash printed came to the model
    assert "\ttwo" in said.stdout  # and what Read showed


def test_it_waits_when_the_server_is_busy(claude_code: Any, scripted: Callable[..., Any]) -> None:
    # design 4, "What it needs" 4: 529 and retry-after
    server = scripted("busy_once")
    said = claude_code.run("Say hello.", "--bare", url=server.url)
    assert said.stdout.strip() == "Hello from the script.", said.stdout + said.stderr + server.tail()


def test_it_asks_again_when_the_engine_died_under_it(claude_code: Any, scripted: Callable[..., Any]) -> None:
    server = scripted("dies_once")
    said = claude_code.run("Say hello.", "--bare", url=server.url)
    assert said.stdout.strip() == "Hello from the script.", said.stdout + said.stderr + server.tail()


def test_it_tells_the_user_both_numbers_when_the_prompt_is_too_long(
    claude_code: Any, scripted: Callable[..., Any], scripted_server_settings: Callable[..., Any]
) -> None:
    # design 4, "What it needs" 3: the wording is read by the client, and shown
    server = scripted("hello")
    said = claude_code.run("long " * 20_000, "--bare", "--append-system-prompt", "long " * 20_000, url=server.url)
    assert "too long" in said.stdout.lower(), said.stdout + said.stderr + server.tail()


@pytest.mark.coder
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_it_lists_a_folder_with_the_qwen_coder(
    claude_code: Any, start_server: Callable[..., Any], attempt: int
) -> None:
    for name in ("apples", "pears"):  # not empty: the model reads them, too, and again and again when nothing is there
        (claude_code.work / f"{name}.txt").write_text(f"There are seven {name}.\n")
    server = start_server("--model", str(CODER), "--ctx", "16384")
    said = claude_code.run(
        "Use the Bash tool to run ls and tell me what you see",
        *("--bare", "--allowedTools", "Bash", "--max-turns", "20", "--output-format", "stream-json", "--verbose"),
        url=server.url,
        bound_s=500,
    )
    events = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert said.returncode == 0, said.stdout + said.stderr + server.tail()
    assert "apples.txt" in json.dumps([event for event in events if event["type"] == "user"])
    assert events[-1].get("result", "").strip(), said.stdout

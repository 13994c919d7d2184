"""Sessions and their agents on a real server with the starter model: what is shared, joined, shown and explained.

Ours: design 4, "Agent-aware scheduling" and "Prefix-stable rendering"; headers as Claude Code 2.1.330 sends them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(600)]

PROGRAM = Path(sys.executable).with_name("pensieve-server")
HEAD = "You are a careful engineer who writes tests first. " * 40
BILLING = "x-anthropic-billing-header: cc_version=2.1.330.{}; cc_entrypoint=cli;"
MARK = {"cache_control": {"type": "ephemeral"}}
SLACK = 12
COUNTING = ("Count.", "1, 2, 3, 4, 5, 6, 7, 8,")
"""A turn that the greedy model continues for thousands of tokens."""


def headers(session: str, agent: str | None = None) -> dict[str, str]:
    return {"x-claude-code-session-id": session, **({"x-claude-code-agent-id": agent} if agent else {})}


def ask(*turns: str, system: str = HEAD, digits: str = "d7d", **more: Any) -> dict[str, Any]:
    """As Claude Code asks: a billing block, a marked system text, and tokens enough to be a turn."""
    blocks = [{"type": "text", "text": BILLING.format(digits)}, {"type": "text", "text": system, **MARK}]
    messages = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return {"model": "claude", "max_tokens": 24, "messages": messages, "system": blocks, "temperature": 0, **more}


def usage(server: Any, body: dict[str, Any], **sent: str) -> dict[str, int]:
    answer = server.post(body, **sent)
    assert answer.status_code == 200, answer.text + server.tail()
    found: dict[str, int] = answer.json()["usage"]
    return found


def status(server: Any) -> dict[str, Any]:
    report: dict[str, Any] = httpx2.get(f"{server.url}/status", timeout=60).json()
    return report


def until(events: Iterator[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(event for event in events if event["type"] == kind)


@pytest.fixture(scope="module")
def server(start_shared_server: Callable[..., Any], starter_model: Path) -> Any:
    return start_shared_server("--model", str(starter_model), "--ctx", "8192", "--parallel", "4")


def test_a_subagent_computes_nothing_of_the_head_that_its_parent_has(server: Any) -> None:
    first = usage(server, ask("Begin."), **headers("fork"))
    assert first["cache_creation_input_tokens"] > 300
    with server.stream(ask(*COUNTING, max_tokens=2_000), **headers("fork")) as parent:
        until(parent, "content_block_delta")
        agent = usage(server, ask("Find nothing.", digits="0a1"), **headers("fork", "a1"))
    assert agent["cache_read_input_tokens"] >= first["cache_creation_input_tokens"] - SLACK
    assert agent["cache_creation_input_tokens"] == 0


def test_an_answer_shows_its_tokens_and_its_speed_while_it_is_written(server: Any) -> None:
    with server.stream(ask(*COUNTING, max_tokens=2_000), **headers("live", "a1")) as events:
        for _ in range(60):
            until(events, "content_block_delta")
        (running,) = [each for each in status(server)["running"] if each["role"] == "agent"]
    assert running["phase"] == "decode"
    assert running["generated_tokens"] >= 16
    assert running["decode_tokens_per_s"] > 1


def test_the_same_request_again_joins_the_prefill_of_the_first(server: Any) -> None:
    """A retry whose first attempt is still there."""
    body = ask("Hello.", system="Once upon a time there was a very careful engineer. " * 90)
    with server.stream(body, **headers("retry")) as attempt:
        until(attempt, "message_start")
        retry = usage(server, body, **headers("retry"))
        first = until(attempt, "message_delta")["usage"]
    both = [each["input_tokens"] + each["cache_creation_input_tokens"] for each in (first, retry)]
    total = both[1] + retry["cache_read_input_tokens"]
    assert total > 800
    assert sum(both) < 1.1 * total, "computed once, not twice"


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"system": HEAD + "Be strict."}, "system_changed"),
        ({"tools": [{"name": "t", "input_schema": {"type": "object"}}]}, "tools_changed"),
        ({"turns": ("Something else altogether. " * 30,)}, "messages_changed"),
    ],
)
def test_a_broken_prefix_is_explained_in_status_log_doctor_and_diagnostics(
    server: Any, changed: dict[str, Any], cause: str
) -> None:
    sent = headers(f"break-{cause}")
    before: dict[str, Any] = {"diagnostics": {"previous_message_id": None}}
    first = server.post(ask("Hello, you there. " * 30, **before), **sent).json()
    turns = changed.pop("turns", ("Hello, you there. " * 30,))
    again = ask(*turns, **changed, diagnostics={"previous_message_id": first["id"]})
    second = server.post(again, **sent).json()
    assert second["diagnostics"]["cache_miss_reason"]["type"] == cause
    found = status(server)["cache_breaks"][0]
    assert found["cause"] == cause
    assert found["first_differing_token"] == found["cached_tokens"], "all before it was there"
    assert 0 < found["first_differing_token"] < found["previous_prompt_tokens"]
    (line,) = [each for each in _log_lines(server) if each.get("cache_break") == cause]
    assert line["first_differing_token"] == found["first_differing_token"]
    told = _doctor(server)
    assert f"{cause.replace('_', ' ')}: token {found['first_differing_token']:,} differs" in told


def test_the_billing_block_and_the_day_break_nothing(server: Any) -> None:
    sent = headers("stable")
    reminder = "<system-reminder>Today's date is 2026-11-{}.</system-reminder> Hello."
    usage(server, ask(reminder.format(22), digits="d7d"), **sent)
    used = usage(server, ask(reminder.format(23), digits="0a1"), **sent)
    assert used["cache_creation_input_tokens"] == 0
    assert used["input_tokens"] < 40


def test_a_session_in_another_folder_computes_nothing_of_what_claude_code_tells_of_itself(server: Any) -> None:
    """It tells it behind the user's words, with the folder before it (2.1.330)."""
    skills = "The following skills are available for use with the Skill tool:\n\n" + "- tidy: Tidy up a folder.\n" * 60

    def opened(words: str, folder: str) -> dict[str, Any]:
        told = f"# Environment\n - Primary working directory: {folder}\n\n{skills}\n\nToday's date is 2026-11-23."
        return ask(messages=[{"role": "user", "content": words}, {"role": "system", "content": told}])

    first = usage(server, opened("Say hello.", "/home/ann/shop"), **headers("shop"))
    second = usage(server, opened("What is in here?", "/srv/library"), **headers("library"))
    computed = [used["input_tokens"] + used["cache_creation_input_tokens"] for used in (first, second)]
    assert computed[0] > 500
    assert computed[1] < 80


def _log_lines(server: Any) -> list[dict[str, Any]]:
    lines = server.log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _doctor(server: Any) -> str:
    port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [PROGRAM, "doctor", "--port", port, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=server.log.parent,
        stdin=subprocess.DEVNULL,
    )
    findings = json.loads(done.stdout)
    return re.sub(r"\s+", " ", " ".join(each["text"] for each in findings if each["name"] == "cache"))

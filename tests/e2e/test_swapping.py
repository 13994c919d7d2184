"""Two models, and memory for one: the real Claude Code has a session on each, in turns, and neither computes twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(1_100)]

RULES = " ".join(
    f"Rule {number}: ships of line {number} keep to the left of buoy {3 * number}." for number in range(50)
)
ONE_OF_TWO = "400MB"
"""SmolLM2 takes some 320 with a context of 4,096."""


@pytest.fixture
def models(tmp_path: Path, starter_model: Path) -> Path:
    """A folder with the starter model under two names, in two files: for the server they are two models."""
    folder = tmp_path / "two-models"
    folder.mkdir()
    for name in ("one", "two"):
        shutil.copy(starter_model, folder / f"{name}.gguf")
    return folder


def states(server: Any) -> dict[str, str]:
    listed = httpx2.get(f"{server.url}/engines", timeout=60).json()
    return {engine["model"]: engine["state"] for engine in listed["engines"] if engine["model"] in ("one", "two")}


def test_each_session_of_claude_code_keeps_its_prefix_on_the_disk_while_the_other_model_is_loaded(
    claude_code: Any,
    terse: Mapping[str, str],
    start_server: Callable[..., Any],
    models: Path,
    record_property: Callable[[str, object], None],
) -> None:
    arguments = ("--ctx", "4096", "--memory-budget", ONE_OF_TWO, "--residence-seconds", "0", "--log-format", "json")
    server = start_server("--models-folder", str(models), "--model", "one", *arguments)
    sessions: dict[str, str] = {}
    for turn, question in enumerate(("Say hello.", "Which buoy is for line 4?")):
        for model in ("one", "two"):
            said = claude_code.run(
                question,
                *("--bare", "--tools", "", "--output-format", "json", "--model", model),
                *("--system-prompt", f"You keep lighthouse {model}. {RULES}"),
                *(("--resume", sessions[model]) if model in sessions else ()),
                url=server.url,
                **terse,
            )
            assert said.returncode == 0, said.stdout + said.stderr + server.tail()
            answer = json.loads(said.stdout)
            sessions[model] = answer["session_id"]
            other = "two" if model == "one" else "one"
            assert states(server) == {model: "ready", other: "unloaded"}
            read, whole = answer["usage"]["cache_read_input_tokens"], _prompt_tokens(answer["usage"])
            record_property("figure", f"turn {turn} on {model}: {read} of {whole} tokens read from the disk")
            assert turn == 0 or read > 0.9 * whole
    unloaded = [line for line in server.log.read_text().splitlines() if '"engine_unloaded"' in line]
    assert len(unloaded) == 3


def _prompt_tokens(usage: dict[str, Any]) -> int:
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(usage[part] for part in parts)


def test_a_stream_for_a_model_that_waits_for_room_has_begun_long_before(
    start_server: Callable[..., Any], models: Path
) -> None:
    """The other model answers for a while yet; who waits hears of it once the patience of a second is over."""
    arguments = ("--ctx", "2048", "--memory-budget", "300MB", "--residence-seconds", "0")
    server = start_server("--models-folder", str(models), "--model", "one", *arguments)
    endless = {"max_tokens": 600, "temperature": 0, "messages": [{"role": "user", "content": "Count in digits."}]}
    prefilled = [*endless["messages"], {"role": "assistant", "content": "1, 2, 3, 4, 5, 6,"}]  # type: ignore[misc]
    with server.stream({**endless, "model": "one", "messages": prefilled}) as busy:
        assert next(busy)["type"] == "message_start"
        while next(busy)["type"] != "content_block_delta":
            pass
        with server.stream({**endless, "model": "two", "max_tokens": 4}) as waiting:
            assert next(waiting)["type"] == "message_start"
            assert states(server)["two"] == "unloaded"
            rest = [event["type"] for event in busy]
            assert rest[-1] == "message_stop", "what runs is not cut short"
            assert [event["type"] for event in waiting][-1] == "message_stop"
    assert states(server) == {"one": "unloaded", "two": "ready"}


def test_a_model_that_the_budget_will_never_hold_is_refused_with_the_figures(
    start_server: Callable[..., Any], models: Path
) -> None:
    server = start_server("--models-folder", str(models), "--model", "one", "--ctx", "2048", "--memory-budget", "300MB")
    httpx2.post(f"{server.url}/engines/one/load", json={"pin": True}, timeout=60).raise_for_status()
    refused = httpx2.post(f"{server.url}/engines/two/load", json={}, timeout=60)
    assert refused.status_code == 529
    assert "take a pin off" in refused.json()["error"]["message"]

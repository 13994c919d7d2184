"""The rows of the gate on the real engine and the starter model, whose words do not matter.

Where a tool has to be called a play calls it; then the session goes on here, and the engine reads its history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image
from release_gate.stage import Stage

pytestmark = [pytest.mark.gate, pytest.mark.model, pytest.mark.timeout(600)]

Play = Callable[..., Stage]

GoesOn = Callable[..., str]

TERSE = "You are a friendly assistant. Answer in one short sentence."


@attrs.frozen(kw_only=True)
class StarterModel:
    """A server of the starter model, and Claude Code on it, `--bare`."""

    start: Callable[..., Any]
    model: Path
    kept: Path
    """Where servers keep what they have computed."""
    claude_code: Any

    def serve(self, *arguments: str) -> Stage:
        server = self.start("--model", str(self.model), "--ctx", "3072", *arguments, XDG_CACHE_HOME=str(self.kept))
        return Stage(claude_code=self.claude_code, server=server, log=Path("/nowhere"))


@pytest.fixture
def goes_on(terse: Mapping[str, str]) -> GoesOn:
    """Say something, see that there is an answer; return the session."""

    def goes_on(stage: Stage, *arguments: str) -> str:
        words = ("Say hello.", "--bare", "--system-prompt", TERSE, "--output-format", "json", *arguments)
        said = stage.say(*words, **terse)
        assert said.returncode == 0, said.stdout + said.stderr + stage.server.tail()
        answer = json.loads(said.stdout)
        assert answer["result"]
        session: str = answer["session_id"]
        return session

    return goes_on


@pytest.fixture
def starter(start_server: Callable[..., Any], starter_model: Path, claude_code: Any, tmp_path: Path) -> StarterModel:
    return StarterModel(start=start_server, model=starter_model, kept=tmp_path / "kept", claude_code=claude_code)


@pytest.mark.row("starter model: chat, -p")
def test_the_starter_model_answers(starter: StarterModel, goes_on: GoesOn) -> None:
    assert goes_on(starter.serve())


@pytest.mark.row("starter model: a tool loop's history, -p", quick=True)
def test_the_history_of_a_tool_loop_is_read(
    starter: StarterModel, goes_on: GoesOn, play: Play, claude_code: Any
) -> None:
    run = {"command": "echo five > five.txt; cat five.txt", "description": "Run it"}
    stage = play({"Write it": [{"call": "Bash", "arguments": run}, {"say": "It is written."}]})
    played = stage.answer("Write it", "--bare", "--system-prompt", TERSE, "--allowedTools", "Bash")
    assert (claude_code.work / "five.txt").read_text() == "five\n"
    real = starter.serve()
    goes_on(real, "--resume", played["session_id"])


@pytest.fixture
def seen(play: Play, claude_code: Any) -> str:
    """A session in which Read has shown a picture."""
    picture = claude_code.work / "picture.png"
    Image.linear_gradient("L").convert("RGB").save(picture, "PNG")
    look = [{"call": "Read", "arguments": {"file_path": str(picture)}}, {"say": "I have seen it."}]
    stage = play({"Look at it": look})
    played = stage.answer("Look at it", "--bare", "--system-prompt", TERSE, "--allowedTools", "Read")
    assert stage.requests("turn")[-1].images == 1
    session: str = played["session_id"]
    return session


@pytest.mark.row("starter model: an image by Read, -p")
def test_an_image_is_looked_at_by_a_model_that_sees(
    starter: StarterModel, goes_on: GoesOn, seen: str, projector: Path
) -> None:
    blind, seeing = starter.serve(), starter.serve("--projector", str(projector))
    for stage in (blind, seeing):
        goes_on(stage, "--resume", seen, "--fork-session")
    prompts = [stage.status()["answered"][0]["prompt_tokens"] for stage in (blind, seeing)]
    assert prompts[0] < prompts[1]  # an image is more than the sentence that one was here


@pytest.mark.row("starter model: an image by Read, blind, -p", quick=True)
def test_an_image_is_no_end_for_a_model_that_is_blind(starter: StarterModel, goes_on: GoesOn, seen: str) -> None:
    assert goes_on(starter.serve(), "--resume", seen) == seen


@pytest.mark.row("starter model: resume after a restart, -p")
def test_a_session_goes_on_after_a_restart_and_most_of_it_is_kept(
    starter: StarterModel, goes_on: GoesOn, free_port: str
) -> None:
    stage = starter.serve("--port", free_port)
    session = goes_on(stage)
    stage.server.end()
    again = starter.serve("--port", free_port)
    goes_on(again, "--resume", session)
    totals = again.status()["totals"]
    assert totals["cached_tokens"] > 0.5 * totals["prompt_tokens"], totals

"""The rows of the gate that Claude Code plays with `-p`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from release_gate.stage import Stage

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]

Play = Callable[..., Stage]

GREETING = {"Greet me": [{"say": "Good morning from the play."}]}
SUMMARY = "They spoke of the scripted things."
TASK = {"description": "Count", "prompt": "Count them", "subagent_type": "general-purpose"}
COUNT = {"command": "echo counted > counted.txt", "description": "Count"}
AGENT = {
    "Send an agent": [{"call": "Agent|Task", "arguments": TASK}, {"say": "The agent has counted."}],
    "Count them": [{"call": "Bash", "arguments": COUNT}, {"say": "There is one."}],
}


@pytest.mark.row("chat, -p", quick=True)
def test_it_prints_the_answer(play: Play) -> None:
    said = play(GREETING).say("Greet me")
    assert (said.returncode, said.stdout.strip()) == (0, "Good morning from the play.")


@pytest.mark.row("tool loop, -p", quick=True)
def test_it_edits_a_file_and_runs_it(play: Play, claude_code: Any) -> None:
    file = claude_code.work / "add.py"
    file.write_text("print(2 - 3)\n")
    change = {"file_path": str(file), "old_string": "2 - 3", "new_string": "2 + 3"}
    run = {"command": "python3 add.py > printed.txt; cat printed.txt", "description": "Run it"}
    steps = [
        {"call": "Read", "arguments": {"file_path": str(file)}},
        {"call": "Edit", "arguments": change},
        {"call": "Bash", "arguments": run},
        {"say": "It is mended."},
    ]
    stage = play({"Mend add.py": steps})
    said = stage.say("Mend add.py", "--allowedTools", "Read,Edit,Bash")
    assert said.stdout.strip() == "It is mended.", said.stdout + said.stderr
    assert (claude_code.work / "printed.txt").read_text() == "5\n"
    results = [text for _, text in stage.requests("turn")[-1].shown]
    assert len(results) == 3
    assert results[-1].strip() == "5"


@pytest.mark.row("subagent, -p", quick=True)
def test_an_agent_of_its_own_does_its_part(play: Play, claude_code: Any) -> None:
    stage = play(AGENT)
    said = stage.say("Send an agent", "--allowedTools", "Bash,Agent,Task")
    assert "The agent has counted." in said.stdout, said.stdout + said.stderr
    assert (claude_code.work / "counted.txt").read_text() == "counted\n"
    agents = {asked.agent for asked in stage.requests("turn") if asked.cue == "Count them"}
    assert len(agents) == 1
    assert agents != {None}
    assert {asked.session for asked in stage.requests("turn")} == {stage.requests()[0].session}


@pytest.mark.row("resume, -p", quick=True)
def test_a_session_goes_on_where_it_was(play: Play) -> None:
    stage = play({**GREETING, "Go on": [{"say": "On it goes."}]})
    first = stage.answer("Greet me")
    second = stage.answer("Go on", "--resume", first["session_id"])
    assert second["result"] == "On it goes."
    assert stage.requests("turn")[-1].says("Greet me")
    assert stage.requests("turn")[-1].says("Good morning from the play.")


@pytest.mark.row("compact, -p", quick=True)
def test_a_compacted_session_goes_on_from_its_summary(play: Play) -> None:
    stage = play({**GREETING, "Go on": [{"say": "On it goes."}]})
    session = stage.answer("Greet me")["session_id"]
    stage.answer("Go on", "--resume", session)  # 2.1.197 does not compact a single turn
    session = stage.answer("/compact", "--resume", session)["session_id"]
    assert len(stage.requests("summary")) == 1
    assert stage.answer("Go on", "--resume", session)["result"] == "On it goes."
    assert stage.requests("turn")[-1].says(SUMMARY)


@pytest.mark.row("restart of the server, -p", quick=True)
def test_a_session_goes_on_after_a_restart_of_the_server(play: Play, free_port: str) -> None:
    plays = {**GREETING, "Go on": [{"say": "On it goes."}]}
    stage = play(plays, "--port", free_port)
    first = stage.answer("Greet me")
    stage.server.end()
    again = play(plays, "--port", free_port)
    assert again.answer("Go on", "--resume", first["session_id"])["result"] == "On it goes."
    assert again.requests("turn")[-1].says("Good morning from the play.")


@pytest.mark.row("overflow: one prompt, -p", quick=True)
def test_a_prompt_that_never_fits_is_said_to_be_too_long(play: Play) -> None:
    said = play(GREETING, ctx=20_000).say("Greet me " + "long " * 15_000)
    assert "too long" in said.stdout.lower(), said.stdout + said.stderr


@pytest.mark.row("overflow: a conversation, -p", quick=True)
def test_a_conversation_that_outgrows_the_context_is_compacted_and_goes_on(play: Play) -> None:
    plays = {f"Step {i}": [{"say": "word " * 2_000}] for i in range(8)}
    stage = play(plays, ctx=18_000)
    session = stage.answer("Step 0")["session_id"]
    for i in range(1, 8):
        session = stage.answer(f"Step {i}", "--resume", session)["session_id"]
    assert stage.requests("summary"), stage.server.tail()


@pytest.mark.row("two sessions side by side, -p", quick=True)
def test_two_sessions_do_not_mix(play: Play) -> None:
    stage = play({f"I am {who}": [{"slowly": f"You are {who} " * 10}] for who in ("Ann", "Bob")})
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(stage.say, ("I am Ann", "I am Bob")))
    assert ["Bob" in one.stdout for one in said] == [False, True]
    assert ["Ann" in one.stdout for one in said] == [True, False]
    assert len({asked.session for asked in stage.requests("turn")}) == 2


@pytest.mark.row("an image by Read, -p", quick=True)
def test_an_image_reaches_a_model_that_sees(play: Play, claude_code: Any, projector: Path, tmp_path: Path) -> None:
    stage = play(_looking_at(_picture(claude_code.work)), "--projector", str(projector))
    said = stage.say("Look at it", "--allowedTools", "Read")
    assert said.stdout.strip() == "I have seen it.", said.stdout + said.stderr + stage.server.tail()
    assert stage.requests("turn")[-1].images == 1


def _looking_at(picture: Path) -> dict[str, list[dict[str, Any]]]:
    return {"Look at it": [{"call": "Read", "arguments": {"file_path": str(picture)}}, {"say": "I have seen it."}]}


def _picture(folder: Path) -> Path:
    path = folder / "picture.png"
    Image.linear_gradient("L").convert("RGB").save(path, "PNG")
    return path

"""The rows of the gate that Claude Code plays in its own terminal, started by `pensieve-server claude`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from release_gate.stage import Stage

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]

Play = Callable[..., Stage]

BACKGROUND = 2

GREETING = {"Greet me": [{"say": "Good morning from the play."}]}


@pytest.mark.row("chat and status line, terminal", quick=True)
def test_it_shows_the_answer_and_the_status_line(play: Play) -> None:
    stage = play(GREETING)
    with stage.terminal() as terminal:
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        terminal.wait_for("k of 100.0k · cache")
    assert stage.status()["answered"][0]["role"] == "main"


@pytest.mark.row("tool loop with the user's consent, terminal", quick=True)
def test_it_asks_and_edits_a_file_and_runs_it(play: Play, claude_code: Any) -> None:
    file = claude_code.work / "add.py"
    file.write_text("print(2 - 3)\n")
    change = {"file_path": str(file), "old_string": "2 - 3", "new_string": "2 + 3"}
    steps = [
        {"call": "Read", "arguments": {"file_path": str(file)}},
        {"call": "Edit", "arguments": change},
        {"call": "Bash", "arguments": {"command": "python3 add.py > printed.txt", "description": "Run it"}},
        {"say": "It is mended."},
    ]
    with play({"Mend add.py": steps}).terminal() as terminal:
        terminal.submit("Mend add.py")
        terminal.consent("Do you want to make this edit")
        terminal.consent("Do you want to proceed")
        terminal.wait_for("It is mended.")
    assert (claude_code.work / "printed.txt").read_text() == "5\n"


@pytest.mark.row("subagent, terminal")
def test_an_agent_of_its_own_does_its_part(play: Play, claude_code: Any) -> None:
    task = {"description": "Count", "prompt": "Count them", "subagent_type": "general-purpose"}
    count = {"command": "echo counted > counted.txt", "description": "Count"}
    plays = {
        "Send an agent": [{"call": "Agent|Task", "arguments": task}, {"say": "The agent has done its part."}],
        "Count them": [{"call": "Bash", "arguments": count}, {"say": "There is one."}],
    }
    stage = play(plays)
    with stage.terminal("--allowedTools", "Bash,Agent,Task") as terminal:
        terminal.submit("Send an agent")
        terminal.wait_for("The agent has done its part.")
        terminal.wait_until(lambda: any(asked.agent and asked.results for asked in stage.requests("turn")))
    assert (claude_code.work / "counted.txt").read_text() == "counted\n"


@pytest.mark.row("compact, terminal", quick=True)
def test_a_compacted_session_goes_on_from_its_summary(play: Play) -> None:
    stage = play({**GREETING, "Go on": [{"say": "On it goes."}]})
    with stage.terminal() as terminal:
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        terminal.submit("Greet me, please")
        terminal.wait_until(lambda: len(stage.requests("turn")) == 2)
        terminal.submit("/compact")
        terminal.wait_for("Compacted")
        terminal.submit("Go on")
        terminal.wait_for("On it goes.")
    assert len(stage.requests("summary")) == 1
    assert stage.requests("turn")[-1].says("They spoke of the scripted things.")


@pytest.mark.row("resume, terminal")
def test_a_session_goes_on_where_it_was(play: Play) -> None:
    stage = play({**GREETING, "Go on": [{"say": "On it goes."}]})
    with stage.terminal() as terminal:
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        terminal.submit("/exit")
        assert terminal.wait_for_end() == 0
    with stage.terminal("--continue") as terminal:
        terminal.wait_for("Good morning from the play.")
        terminal.submit("Go on")
        terminal.wait_for("On it goes.")
    assert stage.requests("turn")[-1].says("Greet me")


@pytest.mark.row("Esc in mid-stream, terminal", quick=True)
def test_esc_ends_the_generation_and_the_session_goes_on(play: Play) -> None:
    stage = play({**GREETING, "Speak slowly": [{"slowly": "again and " * 300}]})
    with stage.terminal() as terminal:
        terminal.submit("Speak slowly")
        terminal.wait_for("again and again")
        assert stage.status()["running"]
        terminal.press("Escape")
        terminal.wait_for("Interrupted")
        terminal.wait_until(lambda: not stage.status()["running"])
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
    assert stage.requests("turn")[-1].says("again and again")


@pytest.mark.row("restart of the server between turns, terminal", quick=True)
def test_a_session_goes_on_after_a_restart_of_the_server(play: Play, free_port: str) -> None:
    plays = {**GREETING, "Go on": [{"say": "On it goes."}]}
    stage = play(plays, "--port", free_port)
    with stage.terminal() as terminal:
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        stage.server.end()
        terminal.wait_for("○ pensieve does not answer")
        again = play(plays, "--port", free_port)
        terminal.submit("Go on")
        terminal.wait_for("On it goes.")
    assert again.requests("turn")[-1].says("Good morning from the play.")


@pytest.mark.row("two sessions side by side, terminal")
def test_two_sessions_do_not_mix(play: Play) -> None:
    stage = play({f"I am {who}": [{"slowly": f"{who} it is, " * 10 + "and done."}] for who in ("Ann", "Bob")})
    with stage.terminal() as one, stage.terminal() as other:
        one.submit("I am Ann")
        other.submit("I am Bob")
        one.wait_for("and done.")
        other.wait_for("and done.")
        assert "Bob" not in one.screen()
        assert "Ann" not in other.screen()
    assert len({asked.session for asked in stage.requests("turn")}) == 2


@pytest.mark.row("overflow: a conversation, terminal", quick=True)
def test_a_conversation_that_outgrows_the_context_is_compacted_and_goes_on(play: Play) -> None:
    plays = {f"Step {i}.": [{"say": f"{'word ' * 2_000}and {i} is done."}] for i in range(10)}
    stage = play(plays, ctx=16_000)
    with stage.terminal() as terminal:
        for i in range(10):
            terminal.submit(f"Step {i}.")
            terminal.wait_for(f"and {i} is done.")
    assert stage.requests("summary")


@pytest.mark.row("title calls, terminal")
def test_the_title_call_is_answered_beside_the_first_turn(play: Play) -> None:
    stage = play({"Write me a greeting": [{"say": "Good morning from the play."}]})
    variables = {"ANTHROPIC_BASE_URL": stage.server.url, "ANTHROPIC_AUTH_TOKEN": "none-needed"}
    with stage.run_in_terminal(stage.claude_code.program, **variables) as terminal:
        terminal.wait_for("Claude Code v")
        terminal.submit("Write me a greeting for the people of this house")
        terminal.wait_for("Good morning from the play.")
        terminal.wait_until(lambda: bool(stage.requests("title")))
    (title,) = stage.requests("title")
    assert title.priority == BACKGROUND
    assert title.session == stage.requests("turn")[0].session


@pytest.mark.row("Ctrl-C, terminal", quick=True)
def test_ctrl_c_does_in_the_launcher_what_it_does_in_claude_code(play: Play) -> None:
    stage = play({**GREETING, "Speak slowly": [{"slowly": "again and " * 300}]})
    with stage.terminal() as terminal:
        terminal.submit("Speak slowly")
        terminal.wait_for("again and again")
        terminal.press("C-c")
        terminal.wait_until(lambda: not stage.status()["running"])
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        terminal.press("C-c")
        terminal.wait_for("Press Ctrl-C again")
        terminal.press("C-c")
        assert terminal.wait_for_end() == 0
    assert stage.status()["ready"]


@pytest.mark.row("beside a cloud session, terminal")
def test_a_cloud_session_beside_it_goes_where_it_always_went(play: Play, claude_code: Any) -> None:
    cloud, stage = play(GREETING), play(GREETING)
    own = claude_code.home / ".claude" / "settings.json"
    own.parent.mkdir()
    own.write_text('{"env": {"FROM_THE": "user"}}')
    with stage.terminal() as terminal:
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        assert cloud.say("Greet me").stdout.strip() == "Good morning from the play."
    assert (len(cloud.requests("turn")), len(stage.requests("turn"))) == (1, 1)
    assert own.read_text() == '{"env": {"FROM_THE": "user"}}'
    assert stage.server.url not in (claude_code.home / ".claude.json").read_text()

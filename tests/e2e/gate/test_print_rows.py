"""The rows of the gate that Claude Code plays with `-p`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from release_gate.stage import Stage

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]

Play = Callable[..., Stage]

GREETING = {"Greet me": [{"say": "Good morning from the play."}]}


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

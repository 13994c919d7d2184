"""The rows of the gate that Claude Code plays in its own terminal, started by `pensieve-server claude`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from release_gate.stage import Stage

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]

Play = Callable[..., Stage]

GREETING = {"Greet me": [{"say": "Good morning from the play."}]}


@pytest.mark.row("chat and status line, terminal", quick=True)
def test_it_shows_the_answer_and_the_status_line(play: Play) -> None:
    stage = play(GREETING)
    with stage.terminal() as terminal:
        terminal.submit("Greet me")
        terminal.wait_for("Good morning from the play.")
        terminal.wait_for("k of 100.0k · cache")

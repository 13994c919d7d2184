"""A model that is silent for 400 s, and Claude Code with nothing set but the base URL: it must take the answer.

By hand, never in CI (pytest collects this file only when it is named):

    .venv/bin/python -m pytest tests/e2e/by_hand_long_wait.py

Claude Code 2.1.197 hangs up after 300 s of silence or of pings, and 2.1.330 after 300 s of silence; see design 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

WAIT_S = 400


@pytest.mark.e2e
@pytest.mark.timeout(WAIT_S + 300)
@pytest.mark.parametrize("arguments", [["--bare"], []], ids=["bare", "all-tools"])
def test_claude_code_takes_an_answer_that_begins_after_400_s(
    claude_code: Any,
    start_server: Callable[..., Any],
    scripted_server_settings: Callable[..., Any],
    arguments: list[str],
) -> None:
    flags, variables = scripted_server_settings("long_wait", SCRIPTED_WAIT_S=str(WAIT_S))
    server = start_server(*flags, **variables)
    began = time.monotonic()
    said = claude_code.run("Say hello.", *arguments, url=server.url, bound_s=WAIT_S + 200)
    assert said.stdout.strip() == "I have slept well.", said.stdout + said.stderr + server.tail()
    assert WAIT_S <= time.monotonic() - began < WAIT_S + 30  # the first request was answered, no second one
    assert server.log.read_text().count("/v1/messages") == 1

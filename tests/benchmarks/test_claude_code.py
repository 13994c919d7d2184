from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from claude_code import ClaudeCode, installed, watched


def said(message: str, text: str) -> str:
    content = [{"type": "text", "text": text}]
    return json.dumps({"type": "assistant", "message": {"id": message, "content": content}})


def test_answers_are_counted_and_not_their_blocks() -> None:
    result = json.dumps({"type": "result", "result": "Done."})
    seen = watched([said("m1", "a"), said("m1", "b"), '{"type": "user"}', said("m2", "c"), result], ended=True)
    assert (seen.turns, seen.answer, seen.ended) == (2, "Done.", True)


def test_what_was_cut_off_has_no_answer() -> None:
    seen = watched([said("m1", "a"), '{"type": "assi', "3", ""], ended=False)
    assert (seen.turns, seen.answer, seen.ended) == (1, "", False)


def test_a_result_without_words_is_an_empty_answer() -> None:
    assert watched(['{"type": "result", "subtype": "error_max_turns"}'], ended=True).answer == ""


@pytest.fixture
def played(tmp_path: Path) -> Any:
    """A program of a few lines in the place of Claude Code, in a folder to work in."""
    (tmp_path / "work").mkdir()

    def make(script: str) -> ClaudeCode:
        program = tmp_path / "claude"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return ClaudeCode(program=program, url="http://127.0.0.1:1", model="coder", context_tokens=16_384)

    return make


def test_it_is_started_as_the_launcher_does_with_four_tools(played: Any, tmp_path: Path) -> None:
    claude = played('echo "$@" > asked; env > variables; pwd > where')
    assert claude.run("Sort it.", folder=tmp_path, bound_s=30).ended
    asked, variables = (tmp_path / "work" / "asked").read_text(), (tmp_path / "work" / "variables").read_text()
    assert "-p Sort it." in asked
    assert "--tools=Bash,Read,Edit,Write" in asked
    assert "--exclude-dynamic-system-prompt-sections" in asked
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:1\n" in variables
    assert f"HOME={tmp_path / 'home'}\n" in variables
    assert (tmp_path / "work" / "where").read_text().strip() == str(tmp_path / "work")


def test_when_its_time_is_over_it_ends_with_all_that_it_started(played: Any, tmp_path: Path) -> None:
    claude = played(f"sleep 600 & echo $! > pid; echo '{said('m1', 'a')}'; wait")
    began = time.monotonic()
    seen = claude.run("Sleep.", folder=tmp_path, bound_s=2)
    assert (seen.ended, seen.turns) == (False, 1)
    assert 2 <= seen.seconds <= time.monotonic() - began < 60
    child = int((tmp_path / "work" / "pid").read_text())
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - began < 60


def test_of_the_installed_versions_the_newest_is_taken(tmp_path: Path) -> None:
    for name, version in (("npm-a", "2.1.330"), ("npm-b", "2.1.197"), ("npm-c", "2.1.99")):
        package = tmp_path / name / "node_modules" / "@anthropic-ai" / "claude-code-linux-x64"
        package.mkdir(parents=True)
        (package / "claude").touch()
        (package / "package.json").write_text(json.dumps({"version": version}))
    assert "npm-a" in str(installed(tmp_path))


def test_without_any_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make e2e"):
        installed(tmp_path)

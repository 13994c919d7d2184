"""A stage: one Claude Code, one server, and a home that has nothing but what lets its terminal begin.

In `-p` Claude Code is given a base URL and no more; in the terminal it is started by `pensieve-server claude`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx2

from release_gate.requests import Asked, read_requests
from release_gate.terminal import Terminal, open_terminal

__all__ = ["Stage", "open_folder"]

_SERVER = Path(sys.executable).with_name("pensieve-server")


@attrs.frozen(kw_only=True)
class Stage:
    """Where a row of the gate is played."""

    claude_code: Any
    """`ClaudeCode` of tests/e2e/conftest.py."""
    server: Any
    """`Server` of the same."""
    log: Path
    """What the scenario `plays` writes; of other engines nothing."""

    def say(self, prompt: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `claude -p PROMPT ARGUMENTS` to its end."""
        url = self.server.url
        done: subprocess.CompletedProcess[str] = self.claude_code.run(prompt, *arguments, url=url, **variables)
        return done

    def answer(self, prompt: str, *arguments: str) -> Mapping[str, Any]:
        """Return what `-p` prints as JSON: `result`, `session_id`…"""
        said = self.say(prompt, "--output-format", "json", *arguments)
        assert said.returncode == 0, said.stdout + said.stderr + self.server.tail()
        answered: Mapping[str, Any] = json.loads(said.stdout)
        return answered

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """Open Claude Code in a terminal by `pensieve-server claude -- ARGUMENTS`; yields when it is ready."""
        port = self.server.url.rpartition(":")[2]
        with self.run_in_terminal(_SERVER, "claude", "--port", port, "--", *arguments) as terminal:
            terminal.wait_for("● scripted", "● smollm2")  # our status line
            yield terminal

    def run_in_terminal(self, *command: str | Path, **variables: str) -> AbstractContextManager[Terminal]:
        """Run any command in a terminal of this home."""
        home = self.claude_code.home
        open_folder(home, self.claude_code.work)
        environment = {
            "PATH": f"{self.claude_code.program.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "DISABLE_AUTOUPDATER": "1",
            **{f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "CACHE", "DATA", "STATE")},
            **variables,
        }
        return open_terminal(command, self.claude_code.work, environment)

    def requests(self, *kinds: str) -> tuple[Asked, ...]:
        """Return what reached the model so far, of these kinds or of all."""
        return tuple(asked for asked in read_requests(self.log) if not kinds or asked.kind in kinds)

    def status(self) -> Mapping[str, Any]:
        """Return what the server says of itself."""
        said: Mapping[str, Any] = httpx2.get(f"{self.server.url}/status", timeout=30).json()
        return said


def open_folder(home: Path, work: Path) -> None:
    """Answer beforehand what Claude Code asks when it is new: theme, login, and whether to trust the folder."""
    state = home / ".claude.json"
    if not state.exists():
        trusted = {"hasTrustDialogAccepted": True}
        state.write_text(json.dumps({"hasCompletedOnboarding": True, "projects": {str(work): trusted}}), "utf-8")

"""The real Claude Code as a program to measure: started lean on a server, as the launcher does, and watched.

Knows where it is installed, how it is started and ended, and what its stream of JSON says. Variables and flags are the
launcher's own (`pensieve_cli.claude_code.launch`), for every server alike. Does not know what it is asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from pensieve_cli.claude_code.launch import Target, plan_launch

__all__ = ["ClaudeCode", "Watched", "installed", "watched"]

_INSTALLED = Path(__file__).parents[2] / ".build" / "e2e"
_TOOLS = "Bash,Read,Edit,Write"


def installed(folder: Path = _INSTALLED) -> Path:
    """Return the newest native program that `make e2e` has installed into `folder`.

    Raises:
        SystemExit: there is none.
    """
    found = folder.glob("npm-*/node_modules/@anthropic-ai/claude-code-*/claude")
    programs = sorted(found, key=_version)
    if not programs:
        msg = "Claude Code is not installed; `make e2e` does that, or name it with --claude"
        raise SystemExit(msg)
    return programs[-1]


def _version(program: Path) -> tuple[int, ...]:
    package = json.loads(program.with_name("package.json").read_text("utf-8"))
    return tuple(int(number) for number in package["version"].split("."))


@attrs.frozen(kw_only=True)
class Watched:
    """What it did."""

    answer: str
    """Its last words; empty when it came to none."""
    turns: int
    """Answers of the model."""
    ended: bool
    """By itself, before its time was over."""
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class ClaudeCode:
    """Claude Code on one server, in print mode, with the launcher's lean prompt."""

    program: Path
    url: str
    model: str
    context_tokens: int

    def run(self, prompt: str, *, folder: Path, bound_s: float) -> Watched:
        """Let it work in `folder`/work until it ends, or its time is over; its transcript stays in `folder`."""
        home, work = folder / "home", folder / "work"
        home.mkdir()
        target = Target(url=self.url, token=None, model=self.model, context_tokens=self.context_tokens)
        words = ("-p", prompt, f"--allowedTools={_TOOLS}", "--output-format=stream-json", "--verbose")
        launch = plan_launch(target, words, status_line="true", lean=True)
        own = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "DISABLE_AUTOUPDATER": "1"}
        transcript = folder / "transcript.jsonl"
        began = time.monotonic()
        with transcript.open("wb") as output, (folder / "errors.log").open("wb") as errors:
            process = subprocess.Popen(
                (str(self.program), *launch.arguments),
                cwd=work,
                env={**own, **launch.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            ended = _ended(process, bound_s)
        seen = watched(transcript.read_text("utf-8", "replace").splitlines(), ended=ended)
        return attrs.evolve(seen, seconds=time.monotonic() - began)


def _ended(process: subprocess.Popen[bytes], bound_s: float) -> bool:
    """Wait; end the process with all that it has started when it takes too long."""
    try:
        process.wait(bound_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def watched(lines: Iterable[str], *, ended: bool) -> Watched:
    """Read its stream of JSON; what is no JSON is passed over, for it may have been cut off."""
    events = list(_events(lines))
    spoken = {event["message"]["id"]: None for event in events if event.get("type") == "assistant"}
    results = [str(event.get("result") or "") for event in events if event.get("type") == "result"]
    return Watched(answer=results[-1] if results else "", turns=len(spoken), ended=ended)


def _events(lines: Iterable[str]) -> Sequence[dict[str, Any]]:
    events = []
    for line in lines:
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return [event for event in events if isinstance(event, dict)]

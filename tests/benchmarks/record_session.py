"""Records a session of the real Claude Code in its terminal: twenty turns, two subagents, a title. By hand:

    .venv/bin/python tests/benchmarks/record_session.py plays > plays.json
    (start `pensieve-server` with the scripted engine of tests/e2e/plugin, which plays plays.json, on a port)
    .venv/bin/python tests/benchmarks/record_session.py record --claude PATH --url http://127.0.0.1:8000

The model is scripted, so that the session is the same each time: what it does is decided by the words that are typed.
Claude Code runs as the launcher starts it, with the lean prompt and the tool for subagents, under tmux, in a home of
its own. Writes recordings/session.json.xz: requests in the order in which they came, each with who asked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record import FILES, harmless, recording
from recordings import blanked, save
from terminal import opened, trusting

from pensieve_cli.claude_code.launch import Target, plan_launch

__all__ = ["PLAYS", "PROMPTS", "as_recorded"]

_TOOLS = "Bash,Read,Edit,Write,Agent"
_CONTEXT = 49_000
_BESIDE_S = 2.0
"""For what is asked beside the conversation."""
_LEAN = {
    "CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "",  # or there is no title
}
_AGENT = "x-claude-code-agent-id"
_PARENT = "x-claude-code-parent-agent-id"


def _bash(command: str) -> dict[str, Any]:
    return {"call": "Bash", "arguments": {"command": command, "description": "Look"}}


def _agent(prompt: str) -> dict[str, Any]:
    arguments = {"description": "Look around", "prompt": prompt, "subagent_type": "general-purpose"}
    return {"call": "Agent|Task", "arguments": {**arguments, "run_in_background": False}}


def _file(tool: str, name: str, **more: str) -> dict[str, Any]:
    return {"call": tool, "arguments": {"file_path": f"WORK/{name}", **more}}


_TEST = (
    "import unittest\n\nfrom orders import can_serve\n\n\nclass OrdersTest(unittest.TestCase):\n"
    '    def test_all_of_them(self):\n        self.assertTrue(can_serve("pears", 3))\n'
)
PLAYS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "What is in this folder": [
        _bash("ls -l && wc -l *"),
        _file("Read", "inventory.py"),
        _file("Read", "orders.py"),
        {"say": "A toy shop. It counts what is on the shelf, and says which orders it can serve. Part one is done."},
    ],
    "can_serve is wrong": [
        _file("Edit", "orders.py", old_string="count(name) > wanted", new_string="count(name) >= wanted"),
        _bash("python3 -c 'from orders import can_serve; print(can_serve(\"pears\", 3))'"),
        {"say": "It refused to sell the last ones; now it does not. Part two is done."},
    ],
    "Ask two agents": [
        _agent("List the functions of this folder, and say what each does."),
        _agent("Count the lines of README.md, and say what it is about."),
        {"say": "There are three functions, and a README of five lines. Part three is done."},
    ],
    "List the functions": [
        _bash("grep -n 'def ' *.py"),
        _file("Read", "inventory.py"),
        {"say": "count, total and can_serve: they look into the stock."},
    ],
    "Count the lines": [
        _bash("wc -l README.md"),
        {"say": "Five lines, about a toy shop."},
    ],
    "Write a test": [
        _file("Write", "test_orders.py", content=_TEST),
        _bash("python3 -m unittest test_orders 2>&1 | tail -3"),
        _file("Read", "notes.txt"),
        _bash("git status --short 2>/dev/null; ls"),
        {"say": "The test passes. Part four is done."},
    ],
    "Sum up the notes": [
        _file("Read", "notes.txt"),
        _file("Write", "summary.md", content="# Notes\n\nPears are late, plums came, apples are to be counted.\n"),
        _bash("cat summary.md"),
        {"say": "The notes are summed up in summary.md. Part five is done."},
    ],
    "How many apples": [
        _bash("python3 -c 'import inventory; print(inventory.count(\"apples\"))'"),
        {"say": "Seven. Part six is done."},
    ],
}
"""From words to what the model does, as tests/e2e/plugin/plays.py reads it; WORK is the folder."""

PROMPTS = (
    ("What is in this folder?", "Part one"),
    ("can_serve is wrong for the last pears. Mend it.", "Part two"),
    ("Ask two agents: one for the functions, one for the README.", "Part three"),
    ("Write a test for it, and run it.", "Part four"),
    ("Sum up the notes in a file.", "Part five"),
    ("How many apples are there?", "Part six"),
)
"""What is typed, and what is on the screen when it is answered."""


def as_recorded(bodies: Sequence[Mapping[str, Any]], headers: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return requests with who asked: `title`, `main`, or `agent-1`, `agent-2`… by their first appearance."""
    names: dict[str | None, str] = {None: "main"}
    found = []
    for body, head in zip(bodies, headers, strict=True):
        agent = head.get(_AGENT)
        names.setdefault(agent, f"agent-{len(names)}")
        asker = names[agent] if body.get("tools") else "title"
        found.append({"asker": asker, "parent": head.get(_PARENT), "body": dict(body)})
    return found


def _record(claude: Path, upstream: str, root: Path) -> list[dict[str, Any]]:
    home, work = root / "home", root / "shop"
    trusting(home, work)
    work.mkdir()
    for name, text in FILES.items():
        (work / name).write_text(text)
    headers: list[dict[str, str]] = []
    with recording(upstream, headers) as (url, bodies):
        _play(claude, url, home, work)
        return as_recorded(bodies, headers)


def _play(claude: Path, url: str, home: Path, work: Path) -> None:
    target = Target(url=url, token=None, model="scripted", context_tokens=_CONTEXT)
    words = (f"--tools={_TOOLS}", f"--allowedTools={_TOOLS}", "--permission-mode=acceptEdits", "--settings={}")
    launch = plan_launch(target, words, status_line="true", lean=True)
    with opened(claude, launch, home=home, work=work, more=_LEAN) as terminal:
        for prompt, answered in PROMPTS:
            terminal.type(prompt)
            terminal.wait_for(answered)
            time.sleep(_BESIDE_S)


def main() -> None:
    """Print the plays, or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plays", "record"))
    parser.add_argument("--claude", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()) / "session")
    options = parser.parse_args()
    if options.what == "plays":
        print(json.dumps(PLAYS).replace("WORK", str(options.root / "shop")))
        return
    options.root.mkdir()
    requests = _record(options.claude, options.url, options.root)
    print("\n".join(f"{request['asker']}: {len(request['body']['messages'])} messages" for request in requests))
    save("session", blanked({"session": requests}, paths=harmless(options.root)))


if __name__ == "__main__":
    main()

"""A small coding task for Claude Code: files to start from, a prompt, and a judge that runs what came of it.

A record of tests/e2e/tasks, one TOML file each. The judge is a Python program that runs in the task's folder, with the
last answer on its standard input; it fails when the task is not solved. It never reads how the task was solved. Each
record brings a solution of its own, by which its judge is tested. Who plays tasks is `scenarios.tasks`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs
import cattrs

__all__ = ["TASKS", "Task", "Verdict", "judged", "laid_out", "load_tasks"]

TASKS = Path(__file__).parents[1] / "e2e" / "tasks"
_JUDGE_S = 60.0


@attrs.frozen(kw_only=True)
class Task:
    """One record. Files are text by name; a line break that a file begins with is the record's, not the file's."""

    name: str
    prompt: str
    judge: str
    start: Mapping[str, str]
    solution: Mapping[str, str] = attrs.field(factory=dict)
    """Files that differ once the task is solved."""
    answer: str = ""
    """What may be told in the end, where the judge wants to hear something."""


@attrs.frozen(kw_only=True)
class Verdict:
    """What a judge says."""

    solved: bool
    reason: str = ""
    """The judge's last line, when it is not."""


def load_tasks(folder: Path = TASKS) -> tuple[Task, ...]:
    """Read all records, by their names.

    Raises:
        cattrs.BaseValidationError: one is none.
    """
    converter = cattrs.Converter(forbid_extra_keys=True)
    records = sorted(folder.glob("*.toml"))
    return tuple(
        converter.structure({"name": path.stem, **tomllib.loads(path.read_text("utf-8"))}, Task) for path in records
    )


def laid_out(files: Mapping[str, str], folder: Path) -> None:
    """Write `files` into `folder`, over what is there."""
    for name, text in files.items():
        (folder / name).write_text(text.removeprefix("\n"), "utf-8")


def judged(task: Task, folder: Path, answer: str, *, bound_s: float = _JUDGE_S) -> Verdict:
    """Let the judge of `task` look at `folder`; a program that goes on for too long is no solution.

    Args:
        task: Whose judge is asked.
        folder: Where the task was worked on. The judge may change it.
        answer: What was said last.
        bound_s: How long the judge may take.
    """
    command = [sys.executable, "-c", task.judge]
    variables = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=variables,
            input=answer,
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(solved=False, reason="the judge had no answer in time")
    if done.returncode == 0:
        return Verdict(solved=True)
    return Verdict(solved=False, reason=(done.stderr.strip().splitlines() or ["no word"])[-1])

"""A terminal that a program can read and type into: tmux, of a size of its own, on a socket of its own.

Knows keys and text on the screen, and nothing of what runs there. Every wait is bounded, and says what was on the
screen when it was in vain. Nothing but our own tmux server is ever ended.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import psutil
import pytest

__all__ = ["Terminal", "open_terminal", "tmux_program"]

_COLUMNS, _ROWS = 110, 40
_WAIT_S = 60.0
_COMMAND_S = 30.0
_ANSWERED_S = 2.0
_LOOK_EVERY_S = 0.1
_NUMBERS = itertools.count()
_INSTALL = "tmux is not installed, and Claude Code's terminal is not seen without it (Debian, Ubuntu: apt install tmux)"
_CONFIGURATION = "set -g history-limit 10000\nset -g default-terminal tmux-256color\n"
_ENDED = "ended with exit status "
_TELL_END = f'"$@"; echo "{_ENDED}$?"; exec cat'
"""A shell command; tmux itself forgets a status now and then."""


@attrs.frozen(kw_only=True)
class Terminal:
    """One pane."""

    tmux: str
    socket: str

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: `Enter`, `Escape`, `C-c`."""
        self._command("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type `text`, and wait until it is on the screen."""
        self._command("send-keys", "-l", text)
        self.wait_for(text)

    def submit(self, text: str) -> None:
        """Type `text`, and press Enter."""
        self.type(text)
        self.press("Enter")

    def consent(self, question: str, bound_s: float = _WAIT_S) -> None:
        """Wait for a question, and press Enter until it is gone: a dialog takes no keys in its first moments."""
        self.wait_for(question)
        deadline = time.monotonic() + bound_s
        while question in self.shown() and time.monotonic() < deadline:
            self.press("Enter")
            self._await(lambda: "gone" if question not in self.shown() else None, _ANSWERED_S)
        assert question not in self.shown(), self.shown()

    def screen(self) -> str:
        """Return all that is and was on the screen; lines that were wrapped are one."""
        return self._command("capture-pane", "-p", "-J", "-S", "-")

    def shown(self) -> str:
        """Return what is on the screen now, as it stands there."""
        return self._command("capture-pane", "-p")

    def wait_for(self, *texts: str, bound_s: float = _WAIT_S) -> str:
        """Wait until one of `texts` is on the screen, and return that one."""
        found = self._await(lambda: next((text for text in texts if text in self.screen()), None), bound_s)
        if found is None:
            pytest.fail(f"none of {texts} was seen in {bound_s} s:\n{self.screen()}")
        return found

    def wait_until(self, holds: Callable[[], bool], bound_s: float = _WAIT_S) -> None:
        """Wait until something holds that is not seen on the screen."""
        if self._await(lambda: "it holds" if holds() else None, bound_s) is None:
            pytest.fail(f"it did not come in {bound_s} s:\n{self.screen()}")

    def wait_for_end(self, bound_s: float = _WAIT_S) -> int:
        """Wait until what runs here has ended, and return its exit status."""
        self.wait_for(_ENDED, bound_s=bound_s)
        return int(self.screen().partition(_ENDED)[2].split()[0])

    def process(self) -> psutil.Process:
        """Return what was started here."""
        return psutil.Process(int(self._command("display-message", "-p", "#{pane_pid}")))

    def _await(self, question: Callable[[], str | None], bound_s: float) -> str | None:
        deadline = time.monotonic() + bound_s
        while not (answer := question()) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        return answer or None

    def _command(self, *words: str) -> str:
        return _run([self.tmux, "-L", self.socket, *words]).stdout


def tmux_program() -> str:
    """Return tmux, or skip the test and say what to install."""
    return shutil.which("tmux") or pytest.skip(_INSTALL)


@contextmanager
def open_terminal(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run `command` in a terminal, in `folder`, with `environment` and nothing else."""
    terminal = Terminal(tmux=tmux_program(), socket=f"pensieve-gate-{os.getpid()}-{next(_NUMBERS)}")
    configuration = folder.parent / "tmux.conf"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    start = [terminal.tmux, "-u", "-L", terminal.socket, "-f", str(configuration), "new-session", "-d"]
    size = ["-x", str(_COLUMNS), "-y", str(_ROWS), "-c", str(folder)]
    _run([*start, *size, "sh", "-c", _TELL_END, "sh", *map(str, command)], environment)
    process = terminal.process()
    try:
        yield terminal
    finally:
        _end(terminal, process)


def _end(terminal: Terminal, process: psutil.Process) -> None:
    family = [process, *process.children(recursive=True)] if process.is_running() else []
    _run([terminal.tmux, "-L", terminal.socket, "kill-server"])
    _, left = psutil.wait_procs(family, timeout=_COMMAND_S)
    for one in left:
        one.kill()


def _run(words: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=_COMMAND_S, check=True, env=environment)

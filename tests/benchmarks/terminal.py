"""Claude Code in a terminal that a program types into: tmux, on a socket of its own.

For what only the interactive Claude Code sends: all of its tools, titles. Variables and flags are the launcher's own,
as in `claude_code`. Every wait is bounded, and says what was on the screen when it was in vain.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from pensieve_cli.claude_code.launch import Launch

__all__ = ["Terminal", "opened", "trusting"]

_PROMPT = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
_LOOK_EVERY_S = 0.2
_QUICK_S = 60.0


@attrs.frozen(kw_only=True)
class Terminal:
    """One pane."""

    socket: str

    def type(self, text: str) -> None:
        """Type `text`, and press Enter once it is on the screen."""
        self.command("send-keys", "-l", text)
        self.wait_for(text)
        self.command("send-keys", "Enter")

    def wait_for(self, text: str) -> None:
        """Wait until `text` is on the screen, for a minute at most."""
        self.wait_until(lambda: text in self.command("capture-pane", "-p", "-J", "-S", "-"), text, bound_s=_QUICK_S)

    def wait_until(self, seen: Callable[[], bool], what: str, *, bound_s: float) -> None:
        """Wait until `seen`.

        Raises:
            RuntimeError: it was not, in `bound_s` seconds.
        """
        deadline = time.monotonic() + bound_s
        while not seen():
            if time.monotonic() > deadline:
                msg = f"{what!r} was not seen; on the screen is\n{self.command('capture-pane', '-p')}"
                raise RuntimeError(msg)
            time.sleep(_LOOK_EVERY_S)

    def command(self, *words: str) -> str:
        """Run a command of tmux."""
        return subprocess.run(("tmux", "-L", self.socket, *words), capture_output=True, text=True, check=True).stdout


def trusting(home: Path, work: Path) -> None:
    """Make `home`, where nothing is asked before work in `work` begins."""
    home.mkdir()
    folder = {str(work): {"hasTrustDialogAccepted": True}}
    settings = {"hasCompletedOnboarding": True, "theme": "dark", "projects": folder}
    (home / ".claude.json").write_text(json.dumps(settings))


@contextlib.contextmanager
def opened(
    program: Path, launch: Launch, *, home: Path, work: Path, more: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run Claude Code in `work` until the block ends; yields once it waits for words. `more`: further variables."""
    terminal = Terminal(socket=f"bench-{os.getpid()}-{work.name}")
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "DISABLE_AUTOUPDATER": "1"}
    start = ("tmux", "-L", terminal.socket, "-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "40")
    subprocess.run(
        (*start, "-c", str(work), str(program), *launch.arguments),
        env={**own, **launch.environment, **(more or {})},
        check=True,
    )
    try:
        terminal.wait_for(_PROMPT)
        yield terminal
    finally:
        terminal.command("kill-server")

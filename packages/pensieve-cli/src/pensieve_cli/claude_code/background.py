"""A server that outlives who started it: a process group and a session of its own, a log file instead of a terminal.

A terminal's Ctrl-C goes to the group in its foreground; this one is not in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import platformdirs

__all__ = ["BackgroundServer", "log_file", "start_server"]

_TAIL_BYTES = 4_000


@attrs.frozen(kw_only=True)
class BackgroundServer:
    """The server that we started."""

    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> bool:
        """It is gone already."""
        return self.process.poll() is not None

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace").strip()


def log_file(port: int) -> Path:
    """Return where the server of `port` writes; that of the start before lies beside it."""
    return platformdirs.user_state_path("pensieve") / f"server-{port}.log"


def start_server(arguments: Sequence[str], port: int) -> BackgroundServer:
    """Start `pensieve-server serve ARGUMENTS`, and do not wait for it.

    Raises:
        OSError: the log cannot be written.
    """
    log = log_file(port)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.before"))
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "pensieve_cli", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return BackgroundServer(process=process, log=log)

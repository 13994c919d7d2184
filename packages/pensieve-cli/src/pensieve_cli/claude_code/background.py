"""A server that outlives who started it: a process group and a session of its own, a log file instead of a terminal.

A terminal's Ctrl-C goes to the group in its foreground; this one is not in it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import platformdirs
import psutil

__all__ = ["BackgroundServer", "log_file", "start_server", "was_started_with"]

_TAIL_BYTES = 4_000


@attrs.frozen(kw_only=True)
class BackgroundServer:
    """The server that we started."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def ended(self) -> bool:
        """It is gone already."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """Tell it to shut down, and do not wait for it."""
        self.process.terminate()

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


_OF_THE_WAY = ("--port", "--host", "--model", "--api-key", "--api-key-file")
"""Settings by which a server that runs is found, and asked for a model."""


def was_started_with(pid: int, arguments: Sequence[str]) -> bool:
    """Return whether all settings in `arguments` were said when the server `pid` was started; yes if it hides them."""
    with suppress(psutil.Error):
        return set(_settings_said(arguments)) <= set(_settings_said(psutil.Process(pid).cmdline()))
    return True


def _settings_said(arguments: Sequence[str]) -> Iterator[str]:
    """Yield `--flag=value` of each, however it was written."""
    for said, behind in itertools.zip_longest(arguments, arguments[1:], fillvalue="--"):
        flag, _, value = said.partition("=")
        if flag.startswith("--") and flag not in _OF_THE_WAY:
            yield f"{flag}={value or ('' if behind.startswith('--') else behind)}"

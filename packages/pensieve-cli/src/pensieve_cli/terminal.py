"""The person at the terminal, if there is one: where questions are answered, and where everything is printed.

Imports next to nothing: `--help` passes here.
"""

from __future__ import annotations

import os
from typing import IO, NamedTuple, TextIO

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode

__all__ = ["Terminal", "confirm", "silence"]


class Terminal(NamedTuple):
    """Two streams; either may be a file or a pipe. A tuple and no attrs class: that would cost `--help` 20 ms."""

    answers: TextIO
    output: TextIO


def confirm(question: str, terminal: Terminal, *, otherwise: str, declined: str = "nothing was removed") -> None:
    """Return if a person says yes.

    Args:
        question: What is asked.
        terminal: Who is asked.
        otherwise: The words of a command that does not ask.
        declined: What is said when they say no.

    Raises:
        CommandError: nobody is there, or they say anything else.
    """
    if not terminal.answers.isatty():
        raise CommandError(f"nobody is there to confirm it; {otherwise} does not ask", ExitCode.USAGE)
    terminal.output.write(f"{question} [y/N] ")
    terminal.output.flush()
    if terminal.answers.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError(declined, ExitCode.FAILURE)


def silence(stream: IO[str]) -> None:
    """Let `stream` lead nowhere: its reader has left, and what is still buffered must not fail again at the end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # it is no file, or closed
        return

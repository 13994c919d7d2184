"""What stops a command: one message for the person at the terminal, and the exit code."""

from __future__ import annotations

from pensieve_cli.exit_codes import ExitCode

__all__ = ["CommandError"]


class CommandError(Exception):
    """The command cannot go on. The message says what is wrong and what to do; it holds no secrets."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code

"""The script `pensieve-server`: from words to an exit code.

Imports late: `--help` and a mistyped flag must not pay for a web server. Every error ends here as one line on
stderr and an exit code; tracebacks are for `--log-level debug`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.help_page import HELP_PAGES, help_page
from pensieve_cli.terminal import Terminal, silence

if TYPE_CHECKING:
    from pensieve_cli.command_line import Examine, PrintCompletion, ShowVersion, StartClaudeCode

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit code. Raises nothing."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    quick = _answered_quickly(words)
    if quick is not None:
        return quick
    try:
        code = _do(["version"] if words == ["--version"] else words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `pensieve-server list --json | head -1`: as rich ends, without a word
        silence(sys.stdout)
        return ExitCode.FAILURE
    except Exception as error:  # noqa: BLE001 - the edge of the program: a bug becomes one line, too
        return _failed(error, words)
    return code


def _answered_quickly(words: Sequence[str]) -> int | None:
    """Do what is wanted at once or again and again, and needs no parser. None: it is none of that."""
    if words[:1] == ["__complete"]:
        from pensieve_cli import model_completion  # noqa: PLC0415 - late, as all; it is called at a press of Tab

        return model_completion.answer(words[1:], sys.stdout, os.environ)
    if {"-h", "--help"}.intersection(words[: words.index("--")] if "--" in words else words):
        sys.stdout.write(help_page(words))
        return ExitCode.OK
    if words[:1] == ["statusline"]:
        from pensieve_cli.claude_code import status_line  # noqa: PLC0415 - late, as all; it is called every second

        return status_line.run(sys.stdin.buffer, sys.stdout.buffer, os.environ)
    return None


def _do(words: Sequence[str]) -> ExitCode:
    from pensieve_cli.command_line import (  # noqa: PLC0415 - late
        ClearCache,
        Examine,
        ListCache,
        PrintCompletion,
        Serve,
        ShowSettings,
        ShowVersion,
        SizeCache,
        StartClaudeCode,
        parse,
    )

    command = parse(words)
    match command:
        case Serve():
            from pensieve_cli import serving  # noqa: PLC0415 - late

            return serving.run(command.settings)
        case ListCache() | SizeCache() | ClearCache():
            from pensieve_cli import cache_table  # noqa: PLC0415 - late

            return cache_table.run(command, Terminal(answers=sys.stdin, output=sys.stdout), time.time())
        case StartClaudeCode() | Examine():
            return _beside_claude_code(command)
        case ShowSettings():
            from pensieve_cli import settings_table  # noqa: PLC0415 - late

            return settings_table.run(command.settings, command.origins, sys.stdout, as_json=command.json)
        case ShowVersion() | PrintCompletion():
            sys.stdout.write(_own_words(command))
            return ExitCode.OK
        case _:
            from pensieve_cli.model_commands import doing  # noqa: PLC0415 - late

            return doing.run(command, Terminal(answers=sys.stdin, output=sys.stdout))


def _own_words(command: ShowVersion | PrintCompletion) -> str:
    """Return what concerns the program itself, and neither models nor servers."""
    from pensieve_cli.command_line import PrintCompletion, completion_script  # noqa: PLC0415 - late
    from pensieve_cli.version import version  # noqa: PLC0415 - late

    if isinstance(command, PrintCompletion):
        return completion_script(command.shell)
    return f"pensieve-server {version()}\n"


def _beside_claude_code(command: StartClaudeCode | Examine) -> ExitCode:
    from pensieve_cli.command_line import Examine  # noqa: PLC0415 - late

    if isinstance(command, Examine):
        from pensieve_cli.claude_code import doctor  # noqa: PLC0415 - late

        return doctor.run(command, sys.stdout)
    from pensieve_cli.claude_code import launcher  # noqa: PLC0415 - late

    return launcher.run(command)


def _failed(error: Exception, words: Sequence[str]) -> ExitCode:
    message, exit_code = _explained(error)
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    sys.stderr.write(f"pensieve-server: {message}\n")
    if exit_code is ExitCode.USAGE:
        command = "".join(f"{word} " for word in words[:1] if word in HELP_PAGES)
        sys.stderr.write(f"pensieve-server {command}--help shows what there is.\n")
    return exit_code


def _explained(error: Exception) -> tuple[str, ExitCode]:
    from pensieve_core import ModelNotFoundError, PensieveError  # noqa: PLC0415 - late: the status line needs no attrs

    match error:
        case CommandError():
            return error.message, error.exit_code
        case ModelNotFoundError():
            from pensieve_cli.missing_model import explained  # noqa: PLC0415 - late

            return explained(error), ExitCode.NOT_FOUND
        case PensieveError():
            return error.message, ExitCode.FAILURE
        case _:
            name = type(error).__name__
            return f"unexpected {name}: {error} (--log-level debug shows where)", ExitCode.FAILURE

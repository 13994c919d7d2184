"""`pensieve-server ps`, `load` and `unload`: what a running server holds in memory."""

from __future__ import annotations

import sys
import time
from typing import TextIO, assert_never

from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.commands import ListEngines, LoadModel, UnloadModel
from pensieve_cli.model_commands.engine_client import EngineClient
from pensieve_cli.model_commands.engine_report import Engine, EngineReport, engine_line, engine_lines
from pensieve_cli.printing import print_json, print_lines
from pensieve_cli.waiting_line import WaitingLine

__all__ = ["run"]


def run(command: ListEngines | LoadModel | UnloadModel, output: TextIO, errors: TextIO | None = None) -> ExitCode:
    """Ask the server, and print what it says. `errors`: where a person sees that something takes its time (stderr).

    Raises:
        CommandError: there is no server, or it refuses.
    """
    client, line = EngineClient.of(command.settings), WaitingLine(errors or sys.stderr)
    match command:
        case ListEngines():
            report = EngineReport.of(client.url, client.table())
            print_json(report, output) if command.json else print_lines(engine_lines(report, time.time()), output)
        case LoadModel():
            line.show(f"{command.model} is loading")
            try:
                _print(client.load(command.model, pin=command.pin), output, as_json=command.json)
            finally:
                line.clear()
        case UnloadModel():
            _print(client.unload(command.model), output, as_json=command.json)
        case _:
            assert_never(command)
    return ExitCode.OK


def _print(engine: Engine, output: TextIO, *, as_json: bool) -> None:
    print_json(engine, output) if as_json else print_lines([engine_line(engine)], output)

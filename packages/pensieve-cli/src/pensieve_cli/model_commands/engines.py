"""`pensieve-server ps`, `load` and `unload`: what a running server holds in memory."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TextIO, assert_never

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.commands import ListEngines, LoadModel, UnloadModel
from pensieve_cli.model_commands.engine_client import EngineClient
from pensieve_cli.model_commands.engine_report import EngineReport, arrival, converter, engine_line, engine_lines
from pensieve_cli.printing import print_json, print_lines
from pensieve_cli.waiting_line import WaitingLine
from pensieve_core import EngineResidency

__all__ = ["run"]

_LOOK_EVERY_S = 0.2


def run(command: ListEngines | LoadModel | UnloadModel, output: TextIO, errors: TextIO | None = None) -> ExitCode:
    """Ask the server, and print what it says. `errors`: where a person sees that something takes its time (stderr).

    Raises:
        CommandError: there is no server, or it refuses.
    """
    client, line = EngineClient.of(command.settings), WaitingLine(errors or sys.stderr)
    match command:
        case ListEngines():
            report = EngineReport.of(client.url, client.table())
            if command.json:
                print_json(report, output, converter())
            else:
                print_lines(engine_lines(report, time.time()), output)
        case LoadModel():
            _print(_load(command, client, line), output, as_json=command.json)
        case UnloadModel():
            _print(client.unload(command.model), output, as_json=command.json)
        case _:
            assert_never(command)
    return ExitCode.OK


def _load(command: LoadModel, client: EngineClient, line: WaitingLine) -> EngineResidency:
    """Let the server load a model, and show how far it is.

    Raises:
        CommandError: the server refuses, or cannot.
    """
    client.table()  # whoever is no server of ours does not load
    line.show(f"{command.model} is loading")
    loading = _Loading(command, client)
    loading.start()
    try:
        while loading.is_alive():
            loading.join(_LOOK_EVERY_S)
            with contextlib.suppress(CommandError):  # what is wrong with the server, `loading` is told as well
                line.show(*arrival(client.engine(command.model), command.model))
    finally:
        line.clear()
    return loading.outcome()


class _Loading(threading.Thread):
    """The one request that waits. A daemon: who interrupts the program does not wait for it."""

    def __init__(self, command: LoadModel, client: EngineClient) -> None:
        super().__init__(daemon=True)
        self._command = command
        self._client = client
        self._outcome: EngineResidency | CommandError | None = None

    def run(self) -> None:
        try:
            self._outcome = self._client.load(self._command.model, pin=self._command.pin)
        except CommandError as error:
            self._outcome = error

    def outcome(self) -> EngineResidency:
        """Return the loaded engine, once this has ended; raises what the request raised."""
        assert self._outcome is not None  # noqa: S101 - anything else was a bug, and has been printed
        if isinstance(self._outcome, CommandError):
            raise self._outcome
        return self._outcome


def _print(engine: EngineResidency, output: TextIO, *, as_json: bool) -> None:
    print_json(engine, output, converter()) if as_json else print_lines([engine_line(engine)], output)

"""From what was asked for to an exit code. Each command is imported when it is asked for, not before."""

from __future__ import annotations

from typing import assert_never

from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.commands import (
    Benchmark,
    ChangeAlias,
    ListAliases,
    ListEngines,
    ListModels,
    LoadModel,
    ModelCommand,
    PullModel,
    RemoveModels,
    ShowModel,
    Talk,
    UnloadModel,
)
from pensieve_cli.terminal import Terminal

__all__ = ["run"]


def run(command: ModelCommand, terminal: Terminal) -> ExitCode:
    """Do what `command` says.

    Raises:
        CommandError, PensieveError: it cannot be done.
    """
    match command:
        case ListModels():
            from pensieve_cli import model_table  # noqa: PLC0415 - late

            code = model_table.run(command.settings, terminal.output, as_json=command.json)
        case ShowModel():
            from pensieve_cli.model_commands import showing  # noqa: PLC0415 - late

            code = showing.run(command, terminal.output)
        case ListAliases() | ChangeAlias():
            from pensieve_cli.model_commands import naming  # noqa: PLC0415 - late

            code = naming.run(command, terminal.output)
        case PullModel():
            from pensieve_cli.model_commands import fetching  # noqa: PLC0415 - late

            code = fetching.run(command, terminal)
        case RemoveModels():
            from pensieve_cli.model_commands import removing  # noqa: PLC0415 - late

            code = removing.run(command, terminal)
        case ListEngines() | LoadModel() | UnloadModel():
            from pensieve_cli.model_commands import engines  # noqa: PLC0415 - late

            code = engines.run(command, terminal.output)
        case Talk():
            from pensieve_cli.model_commands import talking  # noqa: PLC0415 - late

            code = talking.run(command, terminal)
        case Benchmark():
            from pensieve_cli.model_commands import benchmarking  # noqa: PLC0415 - late

            code = benchmarking.run(command, terminal.output)
        case _:
            assert_never(command)
    return code

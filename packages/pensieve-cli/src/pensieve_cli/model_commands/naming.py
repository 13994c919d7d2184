"""`pensieve-server alias`: lists the user's own names, gives them and takes them away."""

from __future__ import annotations

from typing import TextIO, assert_never

import attrs

from pensieve_cli.aliases import AliasFile, with_alias, without_alias
from pensieve_cli.composition import build_catalog
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.logs import configure_logs
from pensieve_cli.model_commands.alias_report import AliasReport, alias_lines, alias_report
from pensieve_cli.model_commands.commands import ChangeAlias, ListAliases
from pensieve_cli.printing import print_json, print_lines
from pensieve_core import ModelNotFoundError
from pensieve_registry import LocalCatalog

__all__ = ["run"]


def run(command: ListAliases | ChangeAlias, output: TextIO) -> ExitCode:
    """Do what `command` says, and print the aliases that there are then.

    Raises:
        CommandError: it can be no alias, there is none, or the file cannot be used.
        ModelNotFoundError: nobody knows the model.
    """
    configure_logs(attrs.evolve(command.settings.log, log_level="error"))
    file, catalog = AliasFile(), build_catalog(command.settings.model)
    match command:
        case ListAliases():
            aliases = file.read()
        case ChangeAlias():
            aliases = _changed(file.read(), command, catalog)
            file.write(aliases)
        case _:
            assert_never(command)
    report = alias_report(aliases, {target for target in aliases.values() if _is_known(target, catalog)}, file.path)
    print_json(report, output) if command.json else print_lines(_lines(report, command), output)
    return ExitCode.OK


def _is_known(name: str, catalog: LocalCatalog) -> bool:
    try:
        return catalog.resolve(name).id == name
    except ModelNotFoundError:
        return False


def _changed(aliases: dict[str, str], command: ChangeAlias, catalog: LocalCatalog) -> dict[str, str]:
    if command.model is None:
        return without_alias(aliases, command.alias)
    ids = {model.id for model in catalog.models()}
    return with_alias(aliases, command.alias, catalog.resolve(command.model).id, ids=ids)


def _lines(report: AliasReport, command: ListAliases | ChangeAlias) -> list[str]:
    note = ["A server that runs already learns of it when it starts again."] if isinstance(command, ChangeAlias) else []
    return [*alias_lines(report), *note]

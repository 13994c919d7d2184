"""`pensieve-server rm`: removes the files of models. Everything is checked before anything is removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import attrs

from pensieve_cli.aliases import AliasFile
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.logs import configure_logs
from pensieve_cli.model_commands.chosen import catalog_for, chosen_model
from pensieve_cli.model_commands.commands import RemoveModels
from pensieve_cli.model_commands.engine_client import EngineClient
from pensieve_cli.model_commands.removal import Removal, plan_removal, remove, repository_folder
from pensieve_cli.model_commands.removal_report import question, removal_lines, removal_report
from pensieve_cli.printing import print_json, print_lines
from pensieve_cli.terminal import Terminal, confirm
from pensieve_core import ModelDescriptor, ResidencyState
from pensieve_registry import LocalCatalog, file_named

__all__ = ["run"]

_NOT_IN_MEMORY = frozenset({ResidencyState.UNLOADED, ResidencyState.FAILED})


def run(command: RemoveModels, terminal: Terminal) -> ExitCode:
    """Remove them, if a person or `--yes` says so.

    Raises:
        ModelNotFoundError, CommandError: nobody knows one of them by that whole name.
        CommandError: one is not ours, or in use; nobody confirmed it; the system does not let us.
    """
    configure_logs(attrs.evolve(command.settings.log, log_level="error"))
    models_folder = command.settings.model.models_folder.expanduser()
    models = tuple({model.path: model for model in _named(command)}.values())
    others = [model for model in catalog_for(command.settings, None).models() if model not in models]
    removals = [_planned(model, others, models_folder) for model in models]
    if not command.force:
        _check_unused(command, {removal.model for removal in removals})
    if not command.yes:
        confirm(question(removals), terminal, otherwise="rm --yes")
    for removal in removals:
        remove(removal)
    report = removal_report(removals)
    print_json(report, terminal.output) if command.json else print_lines(removal_lines(report), terminal.output)
    return ExitCode.OK


def _named(command: RemoveModels) -> Iterator[ModelDescriptor]:
    usual = catalog_for(command.settings, None)
    for name in command.models:
        if file_named(name) is None and "/" not in name:
            yield _whole_name(usual.resolve(name), name)
        else:
            model = _as_listed(chosen_model(catalog_for(command.settings, name)), usual)
            yield model if _is_path_or_repository(name, model) else _whole_name(model, name)


def _as_listed(given: ModelDescriptor, usual: LocalCatalog) -> ModelDescriptor:
    """Return the model as its own source lists it: that says whose it is."""
    same = (model for model in usual.models() if model.path.samefile(given.path))
    return next(same, given)


def _is_path_or_repository(name: str, model: ModelDescriptor) -> bool:
    """Return whether `name` is a file, or what `model` was fetched from; folders may be called so by chance."""
    return file_named(name) is not None or repository_folder(model.path) is not None


def _whole_name(model: ModelDescriptor, name: str) -> ModelDescriptor:
    """Hold that `name` means this model and no other: no beginning of an id, and no name of the default model."""
    whole = {model.id, model.display_name.lower()}
    if name.lower() in whole or AliasFile().read().get(name.lower()) in whole:
        return model
    raise CommandError(f"{name} is not the whole name of a model; is it {model.id}?", ExitCode.NOT_FOUND)


def _planned(model: ModelDescriptor, others: Collection[ModelDescriptor], models_folder: Path) -> Removal:
    if model.applied is not None:  # its file is the bare model's
        reason = (
            f"it is a model with an adapter: delete {model.applied.adapter.path} yourself, or remove the bare model"
        )
        raise CommandError(f"{model.id} is not removed: {reason}", ExitCode.REFUSED)
    files = [*(model.shards or (model.path,))]
    if model.projector is not None and model.projector not in {other.projector for other in others}:
        files.append(model.projector)
    return plan_removal(model.id, files, source=model.source, models_folder=models_folder)


def _check_unused(command: RemoveModels, models: Collection[str]) -> None:
    """Hold that no server has any of `models` in memory; where none answers, none has."""
    try:
        engines = EngineClient.of(command.settings).table().engines
    except CommandError as error:
        if error.exit_code is ExitCode.NO_SERVER:
            return
        raise CommandError(f"{error.message}; or use --force, if it does not hold them", error.exit_code) from error
    held = [engine.model for engine in engines if engine.state not in _NOT_IN_MEMORY]
    loaded = [name for name in held if any(name == model or name.startswith(f"{model}+") for model in models)]
    if loaded:
        names = ", ".join(loaded)
        raise CommandError(f"a running server has loaded {names}: unload first, or use --force", ExitCode.REFUSED)

"""The model that a command names, beside the settings that every command has."""

from __future__ import annotations

import attrs

from pensieve_cli.composition import build_catalog
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import Settings
from pensieve_core import ModelDescriptor
from pensieve_registry import LocalCatalog

__all__ = ["catalog_for", "chosen_model", "settings_for"]


def settings_for(settings: Settings, model: str | None) -> Settings:
    """Return `settings` with `model` as the default one; None: as they are."""
    return settings if model is None else attrs.evolve(settings, model=attrs.evolve(settings.model, model=model))


def catalog_for(settings: Settings, model: str | None) -> LocalCatalog:
    """Return the catalog whose first model is `model`, by any name or as a file. None: the usual default.

    Raises:
        ModelNotFoundError: nobody knows the name.
        CommandError: the file cannot be served.
    """
    return build_catalog(settings_for(settings, model).model)


def chosen_model(catalog: LocalCatalog) -> ModelDescriptor:
    """Return the first model of `catalog`.

    Raises:
        CommandError: it has none.
    """
    models = catalog.models()
    if not models:
        msg = "no model was found; put a GGUF file into the folder models/, or name one"
        raise CommandError(msg, ExitCode.NOT_FOUND)
    return models[0]

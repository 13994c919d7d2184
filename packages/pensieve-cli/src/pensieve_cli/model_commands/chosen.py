"""The model that a command names, beside the settings that every command has: a name, a reference or a file.

What they mean is the catalog's business; it has what is here already, and nothing is fetched.
"""

from __future__ import annotations

import attrs

from pensieve_cli.composition import build_catalog
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import Settings
from pensieve_cli.wording import FIRST_MODEL
from pensieve_core import ModelDescriptor
from pensieve_inference import EngineProvider, ModelCatalog
from pensieve_registry import LocalCatalog

__all__ = ["catalog_for", "chosen_for", "chosen_model"]


def catalog_for(settings: Settings, model: str | None) -> LocalCatalog:
    """Return the catalog whose first model is `model`. None: the usual default.

    Raises:
        ModelNotFoundError: nobody knows the name.
        CommandError: the file cannot be served.
    """
    return build_catalog(settings.model if model is None else attrs.evolve(settings.model, model=model))


def chosen_for(settings: Settings, model: str | None, engines: EngineProvider) -> ModelDescriptor:
    """Return the model that `engines` are to load; raises as `catalog_for`.

    An engine that has models of its own, elsewhere, is asked for them; all others run the files of this machine.
    """
    if not isinstance(engines, ModelCatalog):
        return chosen_model(catalog_for(settings, model))
    name = model or settings.model.model
    return chosen_model(engines) if name is None else engines.resolve(name)


def chosen_model(catalog: ModelCatalog) -> ModelDescriptor:
    """Return the first model of `catalog`.

    Raises:
        CommandError: it has none.
    """
    models = catalog.models()
    if not models:
        raise CommandError(f"no model was found: {FIRST_MODEL}", ExitCode.NOT_FOUND)
    return models[0]

"""The model that a command names, beside the settings that every command has.

A name or a file, as `--model` takes them; or, as `pull` does, a repository of the hub or a name with a quantisation.
These mean a model that is here already: nothing is fetched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs

from pensieve_cli.composition import build_catalog
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import Settings
from pensieve_cli.wording import FIRST_MODEL
from pensieve_core import ModelDescriptor, ModelNotFoundError
from pensieve_inference import EngineProvider, ModelCatalog
from pensieve_registry import HubRef, InvalidReferenceError, LocalCatalog, ModelRef, NameRef, PathRef, parse_ref

__all__ = ["catalog_for", "chosen_for", "chosen_model", "meant_by"]


def catalog_for(settings: Settings, model: str | None) -> LocalCatalog:
    """Return the catalog whose first model is `model`. None: the usual default.

    Raises:
        ModelNotFoundError: nobody knows the name.
        CommandError: the file cannot be served; the repository was not fetched; several models are meant.
    """
    name = None if model is None else _name(settings, model)
    return build_catalog(settings.model if name is None else attrs.evolve(settings.model, model=name))


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


def meant_by(reference: ModelRef, models: Sequence[ModelDescriptor]) -> list[ModelDescriptor]:
    """Return those of `models` that a repository, or a name with a quantisation, means."""
    match reference:
        case HubRef():
            folder = f"models--{reference.owner}--{reference.name}".lower()
            here = [model for model in models if folder in (part.lower() for part in model.path.parts)]
            if reference.file is not None:
                return [model for model in here if model.path.as_posix().endswith(f"/{reference.file}")]
        case NameRef():
            here = [model for model in models if model.id.startswith(reference.name.lower())]
        case PathRef():
            return []
    quantization = reference.quantization
    return [model for model in here if quantization in (None, (model.quantization or "").upper())]


def _name(settings: Settings, model: str) -> str:
    """Return `model` as `--model` takes it."""
    reference = _reference(model)
    if reference is None:
        return model
    catalog = build_catalog(settings.model)
    with contextlib.suppress(ModelNotFoundError):  # an adapter's scale, and Ollama's tags, stand behind a colon, too
        catalog.resolve(model)
        return model
    found = meant_by(reference, catalog.models())
    if len(found) == 1:
        return found[0].id
    if not found:
        msg = f"{model} is not on this machine; pensieve-server list has all that is"
        raise CommandError(msg, ExitCode.NOT_FOUND)
    ids = ", ".join(found_model.id for found_model in found)
    raise CommandError(f"{model} means several models: {ids}", ExitCode.USAGE)


def _reference(model: str) -> HubRef | NameRef | None:
    """Return what only a reference can say; None: a file, or a name that the catalog looks up by its own rules."""
    try:
        reference = parse_ref(model)
    except InvalidReferenceError:
        return None
    if isinstance(reference, HubRef) or (isinstance(reference, NameRef) and reference.quantization is not None):
        return reference
    return None

"""The composition root: the one file where concrete classes meet, as plain constructor arguments.

Everything can be replaced by what satisfies the same Protocol: tests pass a scripted provider, a program that embeds
Pensieve its own catalog. Engines come in by name, through the entry points of the group `pensieve.engines`; ours
is registered as a stranger's would be, and nothing here knows what it runs on.

An engine's entry point is a factory `(settings: S, clock: Clock) -> EngineProvider`. `S` is what the annotation says:
any class whose arguments are keywords with defaults, among them as many of those in `_ENGINE_FLAGS` as
the engine lets a user set. A provider whose models are no files of this machine is their `ModelCatalog`, too.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

import attrs
import structlog

from pensieve_cli.access_keys import read_keys
from pensieve_cli.aliases import AliasFile
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.http_server import AsgiApp
from pensieve_cli.machine import memory_bytes
from pensieve_cli.model_places import model_sources
from pensieve_cli.settings import ModelSettings, Settings
from pensieve_cli.signing_key import signing_key
from pensieve_cli.version import version
from pensieve_core import Clock, ModelDescriptor, ModelNotFoundError
from pensieve_http import Drain, HttpSettings, create_app, create_batch_runner
from pensieve_http.batches.runner import BatchRunner
from pensieve_http.storage import BatchStore, Database, FileFolder, FolderClaim, FolderFileStore, Storage
from pensieve_inference import EngineProvider, ModelCatalog, SystemClock
from pensieve_registry import (
    FileSource,
    GgufHeaderError,
    LeftOut,
    LocalCatalog,
    ModelProblem,
    check_draft_model,
    check_projector,
    file_named,
)

__all__ = ["ENGINES_GROUP", "Application", "build_catalog", "build_engines", "compose"]

ENGINES_GROUP = "pensieve.engines"
_Option: TypeAlias = int | float | str | Path
_log = structlog.get_logger(__name__)
_GIVEN = "given file"
_ENGINE_FLAGS = {
    "context_tokens": "--ctx",
    "threads": "--threads",
    "gpu_layers": "--gpu-layers",
    "max_running": "--parallel",
    "cells": "--cells",
    "kv_type": "--kv-type",
    "drafts": "--no-drafts",
    "cache_folder": "--cache-dir",
    "cache_disk_bytes": "--cache-disk-bytes",
    "cache_ram_bytes": "--cache-ram-bytes",
    "memory_budget_bytes": "--memory-budget",
    "gpu_memory_budget_bytes": "--gpu-memory-budget",
    "idle_unload_s": "--idle-unload-seconds",
    "residence_s": "--residence-seconds",
}
"""What an engine calls a setting, and what the user does."""


@attrs.frozen(kw_only=True)
class Application:
    """All parts of a server, joined and not yet running.

    Whoever composes it runs `batches` beside `app`, and closes `engines`, then `database`.
    """

    app: AsgiApp
    batches: BatchRunner
    catalog: ModelCatalog
    engines: EngineProvider
    drain: Drain
    database: Database
    clock: Clock
    pinned: tuple[ModelDescriptor, ...] = ()
    """To be loaded and pinned at the start, beside the default model."""
    keys: int
    """How many keys are accepted; 0 means that none is asked for."""
    idle_exit_s: float = 0.0
    """When nobody asks for so long, the server stops; 0: never."""


def compose(
    settings: Settings,
    *,
    catalog: ModelCatalog | None = None,
    engines: EngineProvider | None = None,
    clock: Clock | None = None,
) -> Application:
    """Join the parts of a server; those that are not given are made as `settings` says.

    Raises:
        CommandError: a setting names something that is not there.
    """
    clock = clock or SystemClock()
    engines = engines or build_engines(settings, clock)
    catalog = catalog or _catalog(settings.model, engines)
    drain = Drain(clock)
    http = _http_settings(settings)
    folder = settings.storage.folder
    database = Database(folder / "pensieve.sqlite3")
    storage = Storage(
        files=FolderFileStore(FileFolder(folder / "files"), database, clock, limits=http.file_limits),
        batches=BatchStore(database, clock, limits=http.batch_limits),
    )
    batches = create_batch_runner(
        catalog=catalog,
        engines=engines,
        settings=http,
        clock=clock,
        drain=drain,
        storage=storage,
        claim=FolderClaim(folder / "batches.lock"),
    )
    return Application(
        app=create_app(catalog=catalog, engines=engines, settings=http, clock=clock, drain=drain, storage=storage),
        batches=batches,
        catalog=catalog,
        engines=engines,
        drain=drain,
        database=database,
        clock=clock,
        pinned=tuple(catalog.resolve(name) for name in settings.memory.pinned),
        keys=len(http.api_keys),
        idle_exit_s=settings.listen.idle_exit_seconds or 0.0,
    )


def _catalog(settings: ModelSettings, engines: EngineProvider) -> ModelCatalog:
    return engines if isinstance(engines, ModelCatalog) else build_catalog(settings)


def build_catalog(settings: ModelSettings) -> LocalCatalog:
    """Return the catalog of all models on this machine.

    A default model that was asked for and cannot be served is an error: another one must not take its place.

    Raises:
        ModelNotFoundError: nobody knows its name.
        CommandError: it was given as a file, and that cannot be served; or the projector or the draft model is none.
    """
    catalog = _catalog_of(settings)
    _check_draft_model(settings.draft_model, catalog)
    return catalog


def _catalog_of(settings: ModelSettings) -> LocalCatalog:
    projector = _projector(settings)
    sources = model_sources(settings.models_folder)
    catalog_of = partial(
        LocalCatalog,
        projector=projector,
        draft=settings.draft_model,
        aliases=AliasFile().read(),
        on_refused=_log_refused,
    )
    model = settings.model
    if model is None:
        return catalog_of(sources, memory_bytes=memory_bytes())
    file = file_named(model)
    if file is not None:
        given = FileSource(file.expanduser(), name=_GIVEN)
        return _serving(given, model, catalog_of([given, *sources]))
    catalog = catalog_of(sources, default=model)
    catalog.resolve(model)
    return catalog


def _log_refused(problem: ModelProblem) -> None:
    if problem.source != _GIVEN:  # that is an error, and told as one
        _log.warning("model_file_refused", path=str(problem.path), source=problem.source, reason=problem.reason)


def _projector(settings: ModelSettings) -> Path | None:
    if settings.projector is None:
        return None
    path = settings.projector.expanduser()
    try:
        check_projector(path)
    except GgufHeaderError as error:
        raise CommandError(f"--projector {path}: {error.message}", ExitCode.NOT_FOUND) from error
    return path


def _check_draft_model(wanted: str | None, catalog: LocalCatalog) -> None:
    if wanted is None:
        return
    try:
        check_draft_model(wanted, catalog.resolve)
    except (ModelNotFoundError, GgufHeaderError) as error:
        raise CommandError(f"--draft-model {wanted}: {error.message}", ExitCode.NOT_FOUND) from error


def _serving(given: FileSource, name: str, catalog: LocalCatalog) -> LocalCatalog:
    """Hold that the file which the user named is among the models."""
    refusals: list[ModelProblem | LeftOut] = [*catalog.problems, *catalog.left_out]
    for refused in refusals:
        if refused.source == given.name:
            raise CommandError(f"{name} {refused.reason}", ExitCode.NOT_FOUND)
    return catalog


def _http_settings(settings: Settings) -> HttpSettings:
    http = HttpSettings(
        version=version(),
        api_keys=read_keys(settings.access),
        allowed_hosts=(settings.listen.host, *settings.access.allow_host),
        allowed_origins=settings.access.allow_origin,
        strict=settings.api.strict,
        signing_key=signing_key(settings.api.signing_key_file),
    )
    if settings.storage.files_bytes is None:
        return http
    limits = attrs.evolve(http.file_limits, max_total_bytes=settings.storage.files_bytes)
    return attrs.evolve(http, file_limits=limits)


def build_engines(all_settings: Settings, clock: Clock) -> EngineProvider:
    """Return the provider of the engine that is asked for. Whoever gets it closes it.

    Raises:
        CommandError: no such engine is installed, or it refuses a setting.
    """
    settings = all_settings.engine
    factory = _engine_factory(settings.engine)
    settings_class = get_type_hints(factory)["settings"]
    options = _engine_options(all_settings, settings_class)
    try:
        engine_settings = settings_class(**options)
    except ValueError as error:
        given = " ".join(_flag(name, value) for name, value in options.items() if not isinstance(value, Path))
        raise CommandError(f"{given}: the engine {settings.engine} refuses it: {error}", ExitCode.USAGE) from error
    provider: EngineProvider = factory(engine_settings, clock)
    return provider


def _flag(name: str, value: _Option) -> str:
    return _ENGINE_FLAGS[name] if value is False else f"{_ENGINE_FLAGS[name]} {value}"


def _engine_factory(name: str) -> Callable[..., EngineProvider]:
    installed = importlib.metadata.entry_points(group=ENGINES_GROUP)
    if name not in installed.names:
        choices = ", ".join(sorted(installed.names)) or "none"
        raise CommandError(f"--engine {name}: no such engine is installed (installed: {choices})", ExitCode.USAGE)
    try:
        factory: Callable[..., EngineProvider] = installed[name].load()
    except (ImportError, OSError) as error:
        raise CommandError(f"the engine {name} is installed but cannot be loaded: {error}", ExitCode.FAILURE) from error
    return factory


def _engine_options(all_settings: Settings, settings_class: Callable[..., Any]) -> dict[str, _Option]:
    settings, cache, memory = all_settings.engine, all_settings.cache, all_settings.memory
    known = inspect.signature(settings_class).parameters
    wanted: dict[str, _Option | None] = {
        "context_tokens": settings.ctx,
        "threads": settings.threads,
        "gpu_layers": settings.gpu_layers,
        "max_running": settings.parallel,
        "cells": settings.cells,
        "kv_type": settings.kv_type,
        "drafts": False if settings.no_drafts else None,
        # An engine that keeps nothing on the disk need not know where others do, nor that it must not.
        "cache_folder": cache.folder if cache.cache_dir is not None or "cache_folder" in known else None,
        "cache_disk_bytes": cache.cache_disk_bytes if cache.cache_disk_bytes or "cache_disk_bytes" in known else None,
        "cache_ram_bytes": cache.cache_ram_bytes,
        "memory_budget_bytes": memory.memory_budget,
        "gpu_memory_budget_bytes": memory.gpu_memory_budget,
        "idle_unload_s": memory.idle_unload_seconds,
        "residence_s": memory.residence_seconds,
    }
    options = {name: value for name, value in wanted.items() if value is not None}
    unknown = options.keys() - known
    if unknown:
        names = ", ".join(sorted(unknown))
        raise CommandError(f"the engine {settings.engine} cannot be told its {names}", ExitCode.USAGE)
    return options

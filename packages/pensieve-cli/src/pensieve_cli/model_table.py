"""`pensieve-server list`: what was found, for people and (`--json`) for programs.

The JSON is one object, `{"models": […], "problems": […]}`; keys may be added, never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import attrs
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from pensieve_cli.aliases import AliasFile
from pensieve_cli.composition import build_catalog
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.logs import configure_logs
from pensieve_cli.printing import print_json, print_lines, table
from pensieve_cli.settings import ModelSettings, Settings
from pensieve_cli.wording import FIRST_MODEL, megabytes
from pensieve_core import ModelDescriptor
from pensieve_registry import LeftOut, LocalCatalog, ModelProblem

__all__ = ["Findings", "ListedModel", "ListedProblem", "findings", "print_table", "run"]


@attrs.frozen(kw_only=True)
class ListedModel:
    """One row."""

    id: str
    default: bool
    display_name: str
    architecture: str
    parameters: int | None
    quantization: str | None
    size_bytes: int
    context_tokens: int
    """What the model was trained for."""
    source: str
    path: str
    projector: str | None
    """By which it sees images."""
    aliases: tuple[str, ...]
    """Names that the user has given it."""


@attrs.frozen(kw_only=True)
class ListedProblem:
    """A file that is not listed, and why."""

    path: str
    source: str
    reason: str


@attrs.frozen(kw_only=True)
class Findings:
    """All that is printed."""

    models: tuple[ListedModel, ...]
    problems: tuple[ListedProblem, ...]


def run(settings: Settings, stream: TextIO, *, as_json: bool) -> ExitCode:
    """Print the models that `settings` lead to on `stream`."""
    configure_logs(attrs.evolve(settings.log, log_level="error"))  # refused files are told of here, not in the log
    found = findings(build_catalog(settings.model), AliasFile().read())
    if as_json:
        print_json(found, stream)
    else:
        print_table(found, stream)
        print_lines(_missing_folder(settings.model), stream)
    return ExitCode.OK


def findings(catalog: LocalCatalog, aliases: Mapping[str, str] | None = None) -> Findings:
    """Return what `catalog` found, the default model first. Files that are no chat models count as problems.

    Args:
        catalog: Who knows the models.
        aliases: The user's own names, each for the id of a model.
    """
    models = catalog.models()
    refused: Sequence[ModelProblem | LeftOut] = (*catalog.problems, *catalog.left_out)
    return Findings(
        models=tuple(_listed(model, default=model is models[0], aliases=aliases or {}) for model in models),
        problems=tuple(ListedProblem(path=str(r.path), source=r.source, reason=r.reason) for r in refused),
    )


def print_table(found: Findings, stream: TextIO) -> None:
    """Print a table, and below it what was left out."""
    print_lines(_lines(found), stream)


def _lines(found: Findings) -> Iterator[RenderableType]:
    if found.models:
        yield _table(found.models)
    else:
        yield f"No model was found. {FIRST_MODEL}."
    for problem in found.problems:
        yield f"[yellow]left out[/yellow] {escape(problem.path)}: {escape(problem.reason)}"


def _missing_folder(settings: ModelSettings) -> Iterator[str]:
    """Yield a line on a folder that somebody has named and that is not there; the usual one need not be."""
    folder = settings.models_folder
    if folder != ModelSettings().models_folder and not folder.expanduser().is_dir():
        yield f"[yellow]There is no folder[/yellow] {escape(str(folder))}; --models-folder or a setting names it."


def _listed(model: ModelDescriptor, *, default: bool, aliases: Mapping[str, str]) -> ListedModel:
    return ListedModel(
        id=model.id,
        default=default,
        display_name=model.display_name,
        architecture=model.architecture,
        parameters=model.parameters,
        quantization=model.quantization,
        size_bytes=model.size_bytes,
        context_tokens=model.context_tokens,
        source=model.source,
        path=str(model.path),
        projector=None if model.projector is None else str(model.projector),
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == model.id)),
    )


def _table(models: Sequence[ListedModel]) -> Table:
    columns = ["MODEL", "SIZE", "QUANT", "CONTEXT", "SOURCE"]
    if any(model.aliases for model in models):
        columns.append("ALIASES")
    return table(columns, (_row(model)[: len(columns)] for model in models), right=("SIZE", "CONTEXT"))


def _row(model: ListedModel) -> list[str]:
    return [
        f"{model.id} (default)" if model.default else model.id,
        megabytes(model.size_bytes),
        model.quantization or "?",
        f"{model.context_tokens:,}",
        model.source,
        ", ".join(model.aliases),
    ]

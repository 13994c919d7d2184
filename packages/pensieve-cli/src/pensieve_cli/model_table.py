"""`pensieve-server models`: what was found, for people and (`--json`) for programs.

The JSON is one object, `{"models": […], "problems": […]}`; keys may be added, never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import attrs
import cattrs.preconf.json
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pensieve_cli.composition import build_catalog
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.logs import configure_logs
from pensieve_cli.settings import Settings
from pensieve_cli.wording import megabytes
from pensieve_core import ModelDescriptor
from pensieve_registry import LeftOut, LocalCatalog, ModelProblem

__all__ = ["Findings", "ListedModel", "ListedProblem", "findings", "print_json", "print_table", "run"]


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
    found = findings(build_catalog(settings.model))
    (print_json if as_json else print_table)(found, stream)
    return ExitCode.OK


def findings(catalog: LocalCatalog) -> Findings:
    """Return what `catalog` found, the default model first. Files that are no chat models count as problems."""
    models = catalog.models()
    refused: Sequence[ModelProblem | LeftOut] = (*catalog.problems, *catalog.left_out)
    return Findings(
        models=tuple(_listed(model, default=model is models[0]) for model in models),
        problems=tuple(ListedProblem(path=str(r.path), source=r.source, reason=r.reason) for r in refused),
    )


def print_json(found: Findings, stream: TextIO) -> None:
    """Print one JSON object."""
    converter = cattrs.preconf.json.make_converter()
    stream.write(converter.dumps(found, indent=2, ensure_ascii=False) + "\n")


def print_table(found: Findings, stream: TextIO) -> None:
    """Print a table, and below it what was left out."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if found.models:
        console.print(_table(found.models))
    else:
        console.print("No model was found. Put a GGUF file into the folder models/, or name one with --model FILE.")
    for problem in found.problems:
        console.print(f"[yellow]left out[/yellow] {escape(problem.path)}: {escape(problem.reason)}")


def _listed(model: ModelDescriptor, *, default: bool) -> ListedModel:
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
    )


def _table(models: Sequence[ListedModel]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("MODEL", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("QUANT", no_wrap=True)
    table.add_column("CONTEXT", justify="right", no_wrap=True)
    table.add_column("SOURCE", no_wrap=True)
    for model in models:
        name = f"[bold]{escape(model.id)}[/bold] (default)" if model.default else escape(model.id)
        quantization = escape(model.quantization or "?")
        table.add_row(
            name, megabytes(model.size_bytes), quantization, f"{model.context_tokens:,}", escape(model.source)
        )
    return table

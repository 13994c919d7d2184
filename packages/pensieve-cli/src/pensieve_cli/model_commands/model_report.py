"""What `pensieve-server show` prints: one model in human terms."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs
from rich.console import RenderableType
from rich.markup import escape

from pensieve_cli.printing import table
from pensieve_cli.wording import megabytes

__all__ = ["Detail", "FitReport", "ModelFile", "ModelReport", "model_lines"]

_SAID = frozenset({"name", "architecture", "licence", "context"})
"""Details that the report itself says better."""


@attrs.frozen(kw_only=True)
class ModelFile:
    """One of its files, or one that can be used with it."""

    role: str
    """"weights", "projector", "adapter" or "draft"."""
    path: str
    size_bytes: int


@attrs.frozen(kw_only=True)
class Detail:
    """Something that its header tells, in words for people; which there are differs from model to model."""

    label: str
    text: str


@attrs.frozen(kw_only=True)
class FitReport:
    """How it would be loaded now; a forecast from its header, nothing was tried."""

    fits: bool
    """All of it goes into the memory that is free."""
    context_tokens: int
    kv_type: str
    memory_bytes: int
    """Of RAM: weights, cache, and what else it may take at most."""
    available_bytes: int
    """Of RAM."""
    gpu_layers: int
    note: str
    """The sum in a sentence; if it does not fit, what can be done."""


@attrs.frozen(kw_only=True)
class ModelReport:
    """All that is printed."""

    id: str
    default: bool
    display_name: str
    title: str | None
    """What its makers call it."""
    aliases: tuple[str, ...]
    source: str
    architecture: str
    parameters: int | None
    quantization: str | None
    size_bytes: int
    """Of the weights."""
    context_tokens: int
    """What the model was trained for."""
    license: str | None
    tools: bool
    """Its template describes tools; otherwise we do, in the system text."""
    tool_dialect: str
    """How it writes calls: "hermes", "llama"…"""
    thinking: bool
    images: bool
    created_at: int
    """Unix seconds: when it came to this machine."""
    files: tuple[ModelFile, ...]
    details: tuple[Detail, ...]
    fit: FitReport


def model_lines(report: ModelReport) -> Iterator[RenderableType]:
    """Yield the name, a table of facts, and one of files."""
    names = f" ({', '.join(report.aliases)})" if report.aliases else ""
    yield f"[bold]{escape(report.id)}[/bold]{escape(names)}" + (" · the default model" if report.default else "")
    details = {detail.label: detail.text for detail in report.details if detail.label not in _SAID}
    for label, text in {**dict(_facts(report)), **details, "fit": _fit(report.fit)}.items():
        yield f"  [dim]{label:<14}[/dim]{escape(text)}"
    yield table(
        ("FILE", "SIZE", "PATH"),
        ((file.role, megabytes(file.size_bytes), file.path) for file in report.files),
        right=("SIZE",),
    )


def _facts(report: ModelReport) -> Iterator[tuple[str, str]]:
    told = {detail.label: detail.text for detail in report.details}
    if report.title is not None:
        yield "title", report.title
    yield "architecture", report.architecture
    yield "parameters", told["parameters"]
    yield "quantisation", report.quantization or "unknown"
    yield "context", f"{report.context_tokens:,} tokens that it was trained for"
    yield "tools", _tools(report)
    yield "thinking", "yes" if report.thinking else "no"
    yield "images", "yes" if report.images else "no"
    yield "licence", report.license or "not said"
    yield "found in", f"{report.source}, since {time.strftime('%Y-%m-%d', time.localtime(report.created_at))}"


def _tools(report: ModelReport) -> str:
    if report.tools:
        return f"in its own template, called in the manner of {report.tool_dialect}"
    return f"unknown to its template; described in the system text, in the manner of {report.tool_dialect}"


def _fit(fit: FitReport) -> str:
    return fit.note if fit.fits else f"too large for this machine now: {fit.note}"

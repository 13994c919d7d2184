"""What `pensieve-server alias` prints."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import attrs
from rich.markup import escape

__all__ = ["AliasReport", "ListedAlias", "alias_lines", "alias_report"]


@attrs.frozen(kw_only=True)
class ListedAlias:
    """One of them."""

    alias: str
    model: str
    found: bool
    """Its model is still there."""


@attrs.frozen(kw_only=True)
class AliasReport:
    """All that is printed."""

    file: str
    aliases: tuple[ListedAlias, ...]


def alias_report(aliases: Mapping[str, str], ids: Collection[str], file: Path) -> AliasReport:
    """Return what there is to say of `aliases`, which lead to model ids."""
    listed = (ListedAlias(alias=alias, model=model, found=model in ids) for alias, model in sorted(aliases.items()))
    return AliasReport(file=str(file), aliases=tuple(listed))


def alias_lines(report: AliasReport) -> Iterator[str]:
    """Yield a line for each."""
    if not report.aliases:
        yield "There are no aliases. pensieve-server alias NAME MODEL gives one."
    for listed in report.aliases:
        lost = "" if listed.found else "  [yellow](no such model any more)[/yellow]"
        yield f"[bold]{escape(listed.alias)}[/bold] → {escape(listed.model)}{lost}"

"""What `pensieve-server rm` asks and prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
from rich.markup import escape

from pensieve_cli.model_commands.removal import Removal
from pensieve_cli.wording import counted, megabytes

__all__ = ["RemovalReport", "RemovedModel", "question", "removal_lines", "removal_report"]


@attrs.frozen(kw_only=True)
class RemovedModel:
    """One of them."""

    model: str
    paths: tuple[str, ...]
    """Files and links that are gone."""
    freed_bytes: int


@attrs.frozen(kw_only=True)
class RemovalReport:
    """All that is printed."""

    removed: tuple[RemovedModel, ...]


def removal_report(removals: Sequence[Removal]) -> RemovalReport:
    """Return what there is to say once they are gone."""
    return RemovalReport(
        removed=tuple(
            RemovedModel(model=removal.model, paths=tuple(map(str, removal.paths)), freed_bytes=removal.freed_bytes)
            for removal in removals
        )
    )


def question(removals: Sequence[Removal]) -> str:
    """Return what a person is to confirm: every path, and what that frees."""
    paths = "".join(f"  {path}\n" for removal in removals for path in removal.paths)
    freed = megabytes(sum(removal.freed_bytes for removal in removals))
    return f"{paths}Remove {counted(len(removals), 'model')} ({freed})?"


def removal_lines(report: RemovalReport) -> Iterator[str]:
    """Yield a line for each."""
    for removed in report.removed:
        yield f"Removed [bold]{escape(removed.model)}[/bold] ({megabytes(removed.freed_bytes)})."

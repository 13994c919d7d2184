"""How reports leave the process: one JSON object for programs, plain tables for people.

Knows no report. What is printed is an attrs class; its JSON has a key for each field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TextIO

import cattrs.preconf.json
from cattrs.preconf.json import JsonConverter
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

__all__ = ["print_json", "print_lines", "table"]


_WIDEST = 10_000
"""Columns. A table takes what it needs: half of a path is of no use to anybody."""


class _Report(Protocol):
    """An attrs class."""

    @property
    def __attrs_attrs__(self) -> tuple[object, ...]: ...


def print_json(report: _Report, stream: TextIO, converter: JsonConverter | None = None) -> None:
    """Print one JSON object. `converter`: where a report's values are not the JSON's."""
    form = converter or cattrs.preconf.json.make_converter()
    stream.write(form.dumps(report, indent=2, ensure_ascii=False) + "\n")


def print_lines(lines: Iterable[RenderableType], stream: TextIO) -> None:
    """Print lines of rich markup, and tables: nothing is cut, a terminal wraps it. Names and paths must be escaped."""
    console = Console(file=stream, highlight=False, soft_wrap=True, width=_WIDEST)
    for line in lines:
        console.print(line)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> Table:
    """Return a table without lines. Cells are texts, no markup.

    Args:
        columns: The headings.
        rows: As many cells each.
        right: The headings of the columns of numbers.
    """
    aligned = set(right)
    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in aligned else "left", no_wrap=True)
    for row in rows:
        made.add_row(*map(escape, row))
    return made

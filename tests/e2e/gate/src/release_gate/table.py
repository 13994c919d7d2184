"""The end of the gate: a table of rows and versions, for people and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import attrs

__all__ = ["Outcome", "as_json", "as_table"]


@attrs.frozen(kw_only=True)
class Outcome:
    """What one row came to with one version."""

    row: str
    version: str
    result: str
    """passed, failed or skipped."""
    seconds: float


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return all as a JSON list."""
    return json.dumps([attrs.asdict(outcome) for outcome in outcomes], indent=2) + "\n"


def as_table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of a table: a row a line, a version a column; a dash where nothing was tried."""
    versions = list(dict.fromkeys(outcome.version for outcome in outcomes))
    rows = list(dict.fromkeys(outcome.row for outcome in outcomes))
    cells = {(outcome.row, outcome.version): f"{outcome.result} {outcome.seconds:.1f} s" for outcome in outcomes}
    yield _line("Claude Code", versions)
    for row in rows:
        yield _line(row, [cells.get((row, version), "-") for version in versions])


def _line(first: str, others: Sequence[str]) -> str:
    return f"{first:<48}" + "".join(f"{other:<16}" for other in others).rstrip()

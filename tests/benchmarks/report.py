"""A dated report in Markdown, put together from the parts of scenarios. Pure.

Each part stands under a heading of its own, `## SCENARIO, MODEL`, with the machine, the command and the versions that
it was measured with; measured again, it takes the old one's place, and all else stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from scenario import Claim, Part, Table

__all__ = ["merged", "rendered"]


def rendered(part: Part, *, heading: str, provenance: Mapping[str, str]) -> str:
    """Return `part` as Markdown, from its heading on.

    Args:
        part: What was found.
        heading: Without the marks.
        provenance: What a figure needs to be believed: machine, command, versions.
    """
    facts = "\n".join(f"- {name}: {value}" for name, value in provenance.items())
    pieces = [
        f"## {heading}",
        facts,
        *(_claims(part.claims) if part.claims else ()),
        *(piece for table in part.tables for piece in (f"**{table.title}**", _table(table))),
        *part.notes,
    ]
    return "\n\n".join(pieces) + "\n"


def merged(report: str, part: str) -> str:
    """Return `report` with `part` in it, in the place of the part with the same heading, or at the end."""
    heading = part.partition("\n")[0]
    before, *sections = re.split(r"^(?=## )", report, flags=re.MULTILINE)
    places = [i for i, section in enumerate(sections) if section.partition("\n")[0] == heading]
    others = [section for i, section in enumerate(sections) if i not in places]
    others.insert(places[0] if places else len(others), part)
    return "\n\n".join(section.strip("\n") for section in (before, *others) if section.strip()) + "\n"


def _claims(claims: tuple[Claim, ...]) -> tuple[str, ...]:
    rows = tuple((claim.text, claim.measured, "yes" if claim.holds else "**no**") for claim in claims)
    return (_table(Table(title="", columns=("must show", "measured", "holds"), rows=rows)),)


def _table(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

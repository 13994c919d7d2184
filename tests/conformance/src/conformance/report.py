"""The manifest as text: `docs/divergences.md`, and the summary in the README. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from conformance._requirements import NOT_BUILT, Requirement
from conformance.markers import MarkedTest

__all__ = ["BEGIN", "END", "Summary", "divergences_page", "summarise", "with_summary"]

BEGIN, END = "<!-- conformance: made by `make docs` -->", "<!-- /conformance -->"

_AREAS = {
    "endpoint": "endpoints",
    "version": "versions and keys",
    "access": "versions and keys",
    "error": "errors",
    "stream": "stream and stop reasons",
    "stop": "stream and stop reasons",
    "field": "request fields",
    "block": "content blocks",
    "tool": "tools",
    "tool_choice": "tools",
    "thinking": "thinking, effort, formats",
    "effort": "thinking, effort, formats",
    "format": "thinking, effort, formats",
    "edits": "context edits, diagnostics",
    "diagnostics": "context edits, diagnostics",
    "message": "the message, usage, cache",
    "usage": "the message, usage, cache",
    "cache": "the message, usage, cache",
    "batch": "batches and files",
    "file": "batches and files",
}

_HEAD = """\
# Where Pensieve differs

Made from the manifest in `tests/conformance` by `make docs`; do not edit. Each line is a behaviour of the
Messages API, named as in the manifest. Everything that is in the manifest and not here is done as required, and tested
over a real socket.
"""


@attrs.frozen(kw_only=True)
class Summary:
    """One line of the table: how many of each."""

    area: str
    behaviours: int
    tests: int
    divergences: int
    deferrals: int


def summarise(requirements: Sequence[Requirement], tests: Iterable[MarkedTest]) -> tuple[Summary, ...]:
    """Return one summary per area, in the order of the manifest, and the sum. A test counts in each area it names."""
    tests = tuple(tests)
    areas = dict.fromkeys(_AREAS[requirement.area] for requirement in requirements)
    lines = [_summary(area, [r for r in requirements if _AREAS[r.area] == area], tests) for area in areas]
    return (*lines, _summary("all", requirements, tests))


def _summary(area: str, requirements: Sequence[Requirement], tests: Iterable[MarkedTest]) -> Summary:
    ids = {requirement.id for requirement in requirements}
    return Summary(
        area=area,
        behaviours=len(ids),
        tests=sum(not ids.isdisjoint(test.requirements) for test in tests),
        divergences=sum(requirement.divergence is not None for requirement in requirements),
        deferrals=sum(requirement.deferred is not None for requirement in requirements),
    )


def with_summary(readme: str, summaries: Iterable[Summary]) -> str:
    """Return `readme` with a fresh table between its two markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg = f"the text has no {BEGIN} … {END}"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{_table(summaries)}\n{END}{after}"


def _table(summaries: Iterable[Summary]) -> str:
    rows = [f"| {s.area} | {s.behaviours} | {s.tests} | {s.divergences} | {s.deferrals} |" for s in summaries]
    return "\n".join(["| | behaviours | tests | divergences | deferred |", "|---|--:|--:|--:|--:|", *rows])


def divergences_page(requirements: Sequence[Requirement]) -> str:
    """Return the page that lists what is done otherwise, what is left out for good, and what is not built yet."""
    diverging = [r for r in requirements if r.divergence is not None]
    left_out = [r for r in requirements if r.deferred not in (None, NOT_BUILT)]
    missing = [r for r in requirements if r.deferred == NOT_BUILT]
    parts = [
        _HEAD,
        _section("Done otherwise", [_line(r, r.divergence) for r in diverging]),
        _section("Left out", [_line(r, r.deferred) for r in left_out]),
        _section("Not built yet", [_line(r, None) for r in missing]),
    ]
    return "\n".join(parts)


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(lines or ["Nothing."]), ""])


def _line(requirement: Requirement, what: str | None) -> str:
    told = f" **Here:** {what}" if what else ""
    return f"- `{requirement.id}` ({requirement.source}): {requirement.required}{told}"

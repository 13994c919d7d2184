"""The opening of a Claude Code session, in an order that sessions share. Pure.

Behind the user's first words Claude Code tells, in a system turn, what it can do: agents, skills, tools that are found
by a search. That is some 2,000 tokens, the same in each session; but behind words that never are, each session would
compute them anew. So they come first, as the reminder that older versions made of them; then the folder and the date
that stand amid them; then what the user's turn holds. The order depends on the opening alone, so that a conversation
that grows keeps its bytes.

Seen of 2.1.197 and 2.1.330. What no Claude Code tells stays where it stands: above, `_conversation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pensieve_core import Role, TextPart, Turn

__all__ = ["shared_first"]

_PARAGRAPH = "\n\n"
_FOLDER, _DAY = "# Environment\n", "Today's date is "
"""How paragraphs begin that are of this folder, and of this day."""
_TOLD = (
    _FOLDER,
    "Available agent types for the Agent tool:",
    "The following skills are available for use with the Skill tool:",
    "The following deferred tools are now available via ToolSearch.",
)
"""How those begin by which Claude Code is known. Subagents and sessions with few tools are told of the folder alone."""


def shared_first(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Return `turns` with what Claude Code tells of itself before the user's first words."""
    start = next((i for i, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
    match turns[start : start + 2]:
        case [Turn(role=Role.USER) as said, Turn(role=Role.SYSTEM) as told] if (texts := _texts(told)) is not None:
            reminder = TextPart(text=_reminder(texts), cache_mark=any(part.cache_mark for part in texts))
            opening = attrs.evolve(said, parts=(reminder, *said.parts))
            return (*turns[:start], opening, *turns[start + 2 :])
        case _:
            return turns


def _texts(turn: Turn) -> tuple[TextPart, ...] | None:
    """Return the texts of a turn in which Claude Code tells what it can do; None of any other, or if it holds more."""
    texts = tuple(part for part in turn.parts if isinstance(part, TextPart))
    tells = any(paragraph.startswith(_TOLD) for paragraph in _paragraphs(texts))
    return texts if tells and len(texts) == len(turn.parts) else None


def _paragraphs(texts: Sequence[TextPart]) -> list[str]:
    return _PARAGRAPH.join(part.text for part in texts).split(_PARAGRAPH)


def _reminder(texts: Sequence[TextPart]) -> str:
    """What is every session's, then what is this one's; `sorted` keeps the order within both."""
    ordered = sorted(_paragraphs(texts), key=lambda paragraph: paragraph.startswith((_FOLDER, _DAY)))
    return f"<system-reminder>\n{_PARAGRAPH.join(ordered)}\n</system-reminder>"

"""Where the client's cache marks lie in a rendered prompt.

Found by looking for the marked parts' texts, in order, in what was rendered: marks must not leave a trace in the text,
nor can a template tell where it put things. Best effort: a part that is not found is passed over; a mark found too
early costs a few tokens of reuse, nothing else.

Pure. Above: `_template`.
"""

from __future__ import annotations

import itertools

import attrs

from pensieve_core import GenerationRequest, Part, Role, TextPart, ToolCallPart, ToolReferencePart, ToolResultPart
from pensieve_gguf.templates._canonical import canonical_arguments, to_json, tool_definition
from pensieve_gguf.templates._messages import reference_text, result_text, visible_tools

__all__ = ["locate_head", "locate_marks"]


def locate_head(request: GenerationRequest, text: str) -> int:
    """Return where in `text` the marked tools and system text end, wherever they are written; 0 when none is marked."""
    leading = tuple(itertools.takewhile(lambda turn: turn.role is Role.SYSTEM, request.turns))
    marked = max(locate_marks(attrs.evolve(request, turns=leading), text), default=0)
    spoken = (_printed(part, request) for turn in request.turns[len(leading) :] for part in turn.parts)
    first = next((piece for piece in spoken if piece), "")
    return max(marked, text.find(first, marked)) if marked and first else marked


def locate_marks(request: GenerationRequest, text: str) -> tuple[int, ...]:
    """Return the offsets in `text` up to which the client expects it to come again; ascending."""
    marks: set[int] = set()
    head = _tools_end(request, text)
    if any(tool.cache_mark for tool in visible_tools(request)):
        marks.add(head)
    position = 0
    in_head = True
    for turn in request.turns:
        # Tools belong before the system text, wherever the template puts them.
        in_head = in_head and turn.role is Role.SYSTEM
        for part in turn.parts:
            position = _find_end(text, _printed(part, request), position)
            if _is_marked(part):
                marks.add(max(position, head) if in_head else position)
    return tuple(sorted(marks - {0}))


def _tools_end(request: GenerationRequest, text: str) -> int:
    """Return where the last tool's definition ends; 0 when the template has its own way of writing it."""
    return max((_find_end(text, to_json(tool_definition(tool)), 0) for tool in visible_tools(request)), default=0)


def _find_end(text: str, piece: str, start: int) -> int:
    """Return the end of `piece` in `text` at or after `start`; `start` when it is not there."""
    found = text.find(piece, start) if piece else -1
    return start if found < 0 else found + len(piece)


def _printed(part: Part, request: GenerationRequest) -> str:
    """Return what is surely printed of a part, unless it is trimmed away."""
    tools = {tool.name: tool for tool in request.tools}
    match part:
        case TextPart(text=text):
            return text.strip()
        case ToolReferencePart(name=name):
            return reference_text(name, tools)
        case ToolResultPart():
            return result_text(part, tools).strip()
        case ToolCallPart():
            schema = tools[part.name].parameters if part.name in tools else {}
            return to_json(canonical_arguments(part.arguments, schema))
        case _:
            return ""


def _is_marked(part: Part) -> bool:
    return bool(getattr(part, "cache_mark", False))

"""What a parser has told, in a form that a test can write down."""

from __future__ import annotations

from collections.abc import Iterable

from pensieve_core import TextProduced, ThinkingProduced, ToolCallArguments, ToolCallStarted
from pensieve_gguf.parsers import ParsedEvent

__all__ = ["spell"]


def spell(events: Iterable[ParsedEvent]) -> list[str]:
    """Return `events` as short lines, neighbours of one kind joined: what does not depend on where a text was cut."""
    lines: list[tuple[str, str]] = []
    for event in events:
        match event:
            case TextProduced(text=text):
                kind, body = "text", text
            case ThinkingProduced(text=text):
                kind, body = "think", text
            case ToolCallStarted(name=name):
                kind, body = "call", name
            case ToolCallArguments(fragment=fragment):
                kind, body = "args", fragment
        if lines and lines[-1][0] == kind != "call":
            body = lines.pop()[1] + body
        lines.append((kind, body))
    return [f"{kind} {body}" for kind, body in lines]

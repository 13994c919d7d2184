"""The head of a real Claude Code session, cut to a length that a benchmark can pay for. Pure.

A full one holds 12 tools and 9,000 to 25,000 tokens. Cut are the lengths of paragraphs and the number of tools, never
the order of things, and nothing at the beginning of a paragraph: what differs between two folders stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["TOOLS", "cut", "settled"]

TOOLS = ("Bash", "Edit", "Read", "Write")


def cut(
    request: Mapping[str, Any],
    *,
    question: str,
    max_tokens: int,
    paragraph: int = 130,
    tools: Sequence[str] = TOOLS,
) -> dict[str, Any]:
    """Return a greedy request with the head of `request` and another question.

    Args:
        request: As Claude Code sent it; its first message is the user's, its last text the question.
        question: Takes the place of the recorded one.
        max_tokens: Of the answer.
        paragraph: So many characters stay of each paragraph.
        tools: So many tools stay.
    """
    messages = [{"role": m["role"], "content": _texts(m["content"], paragraph)} for m in request["messages"]]
    messages[0]["content"][-1]["text"] = question
    return {
        "model": "claude-bench",
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "system": _texts(request["system"], paragraph),
        "tools": [_tool(tool, paragraph) for tool in request["tools"] if tool["name"] in tools],
        "messages": messages,
    }


def settled(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with all of its system text at the beginning, so that it ends with the user's own words.

    This release of Claude Code writes the environment behind them, as a message of the system; earlier ones had it in
    the system text.
    """
    late = [message for message in body["messages"] if message["role"] == "system"]
    spoken = [message for message in body["messages"] if message["role"] != "system"]
    system = [*body["system"], *(block for message in late for block in message["content"])]
    return {**body, "system": system, "messages": spoken}


def _texts(content: Sequence[Mapping[str, Any]], paragraph: int) -> list[dict[str, Any]]:
    return [{**block, "text": _shortened(block["text"], paragraph)} for block in content]


def _tool(tool: Mapping[str, Any], paragraph: int) -> dict[str, Any]:
    return {**tool, "description": _shortened(tool["description"], paragraph)}


def _shortened(text: str, paragraph: int) -> str:
    return "\n\n".join(piece[:paragraph] for piece in text.split("\n\n"))

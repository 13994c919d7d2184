"""Whose request it is, from the headers that Claude Code sends."""

from __future__ import annotations

from starlette.datastructures import Headers

from pensieve_core import AgentId, Origin, SessionId

__all__ = ["read_origin"]

_LONGEST = 128
"""Claude Code's ids are UUIDs; what is longer is not one of them."""


def read_origin(headers: Headers) -> Origin:
    """Return session, agent and parent as far as they are stated; the priority is the protocol's to find."""
    session = _identifier(headers, "x-claude-code-session-id")
    agent = _identifier(headers, "x-claude-code-agent-id")
    parent = _identifier(headers, "x-claude-code-parent-agent-id")
    return Origin(
        session=SessionId(session) if session else None,
        agent=AgentId(agent) if agent else None,
        parent=AgentId(parent) if parent else None,
    )


def _identifier(headers: Headers, name: str) -> str | None:
    value = headers.get(name, "").strip()
    return value if 0 < len(value) <= _LONGEST else None

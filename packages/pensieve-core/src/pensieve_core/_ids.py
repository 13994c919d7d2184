"""Identifiers. Each kind has a type of its own, so that mypy keeps them apart."""

from __future__ import annotations

from typing import NewType

__all__ = ["AgentId", "FileId", "ModelId", "RequestId", "SessionId", "ToolCallId"]

RequestId = NewType("RequestId", str)
"""One HTTP request, `req_…`; the key of its log line and of its generation."""

ModelId = NewType("ModelId", str)
"""The catalog's own name of a model, never an alias."""

ToolCallId = NewType("ToolCallId", str)
"""One tool call, `toolu_…`; a tool result names the call that it answers."""

SessionId = NewType("SessionId", str)
"""One client session (Claude Code: `x-claude-code-session-id`)."""

AgentId = NewType("AgentId", str)
"""One agent in a session (Claude Code: `x-claude-code-agent-id`)."""

FileId = NewType("FileId", str)
"""One stored file, `file_…`. Later files have greater ids."""

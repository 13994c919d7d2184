"""The tools that a request may bring.

Three kinds: the client's own (`CustomTool`), tools that Anthropic has typed and the client runs (`ClientTool`), and
tools that the server runs, of which Pensieve has the search over deferred tools alone (`SearchTool`). Types end in a
date and grow new ones every few months, so that families are told apart by their prefix.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import attrs

from pensieve_core import JsonObject
from pensieve_protocol._blocks import CacheControl
from pensieve_protocol._constraints import Matches

__all__ = [
    "BM25_TOOL_PREFIX",
    "CLIENT_TOOL_PREFIXES",
    "SEARCH_TOOL_PREFIX",
    "SERVER_TOOL_PREFIXES",
    "ClientTool",
    "CustomTool",
    "RequestTool",
    "SearchTool",
    "ToolName",
]

CLIENT_TOOL_PREFIXES = ("bash_", "text_editor_", "memory_")
SEARCH_TOOL_PREFIX = "tool_search_tool_"
BM25_TOOL_PREFIX = f"{SEARCH_TOOL_PREFIX}bm25"
SERVER_TOOL_PREFIXES = ("web_search", "web_fetch", "code_execution", "computer_", "browser_", "advisor_", "mcp_toolset")

ToolName: TypeAlias = Annotated[str, Matches(r"[a-zA-Z0-9_-]{1,128}")]
_ClientToolType: TypeAlias = Annotated[str, Matches(f"(?:{'|'.join(CLIENT_TOOL_PREFIXES)}).*")]
_SearchToolType: TypeAlias = Annotated[str, Matches(f"{SEARCH_TOOL_PREFIX}.*")]


@attrs.frozen(kw_only=True)
class CustomTool:
    """A tool that the client describes in full."""

    type: Literal["custom"] = "custom"
    name: ToolName
    description: str = ""
    input_schema: JsonObject
    """JSON schema of the input, an object schema."""
    strict: bool = False
    input_examples: tuple[JsonObject, ...] = ()
    defer_loading: bool = False
    """Not to be shown before it is found (`_deferral`)."""
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class ClientTool:
    """A tool known by its type alone; `_client_tools` has its description and schema."""

    type: _ClientToolType
    name: ToolName
    defer_loading: bool = False
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class SearchTool:
    """Search over deferred tools, which the server runs (`_tool_search`)."""

    type: _SearchToolType
    name: ToolName
    cache_control: CacheControl | None = None


RequestTool: TypeAlias = CustomTool | ClientTool | SearchTool

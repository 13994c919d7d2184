"""Which of a request's tools the model may know of. Pure.

The SDK on `defer_loading`: "If true, tool will not be included in initial system prompt. Only loaded when returned via
tool_reference from tool search." Claude Code searches itself, and answers with the references in a tool's result; it
also sends deferred tools that are never to be found. Others leave the search to the server (`_tool_search`), which
offers it where there is something to find. Below: the wire's values. Above: `_rules` and `_translation`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pensieve_protocol._blocks import ContentBlock, OpaqueBlock, ToolReferenceBlock, ToolResultBlock
from pensieve_protocol._client_tools import neutral_tools
from pensieve_protocol._requests import CountTokensRequest
from pensieve_protocol._searches import found_tools
from pensieve_protocol._tool_search import SearchKind, ToolSearch
from pensieve_protocol._tools import BM25_TOOL_PREFIX, RequestTool, SearchTool

__all__ = ["offered_tools", "tool_search"]


def offered_tools(request: CountTokensRequest) -> tuple[RequestTool, ...]:
    """Return the tools that can be called, in their order; those still deferred were found in the conversation."""
    found = frozenset(name for block in _blocks(request) for name in _references(block))
    searchable = any(not isinstance(tool, SearchTool) and tool.defer_loading for tool in request.tools)
    return tuple(
        tool
        for tool in request.tools
        if (searchable if isinstance(tool, SearchTool) else not tool.defer_loading or tool.name in found)
    )


def tool_search(request: CountTokensRequest) -> ToolSearch | None:
    """Return what the server searches for the model; None when there is no search tool."""
    kinds: dict[str, SearchKind] = {
        tool.name: "bm25" if tool.type.startswith(BM25_TOOL_PREFIX) else "regex"
        for tool in request.tools
        if isinstance(tool, SearchTool)
    }
    deferred = tuple(t for t in request.tools if not isinstance(t, SearchTool) and t.defer_loading)
    return ToolSearch(kinds=kinds, tools=neutral_tools(deferred)) if kinds else None


def _blocks(request: CountTokensRequest) -> Iterator[ContentBlock]:
    for message in request.messages:
        if not isinstance(message.content, str):
            yield from message.content


def _references(block: ContentBlock) -> Iterator[str]:
    match block:
        case ToolReferenceBlock(tool_name=name) | OpaqueBlock(added_tool=str(name)):
            yield name
        case OpaqueBlock():
            yield from found_tools(block)
        case ToolResultBlock(content=tuple(content)):
            for inner in content:
                yield from _references(inner)
        case _:
            return

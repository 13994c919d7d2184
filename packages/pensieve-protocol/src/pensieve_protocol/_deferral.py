"""Which of a request's tools the model may know of. Pure.

The SDK on `defer_loading`: "If true, tool will not be included in initial system prompt. Only loaded when returned via
tool_reference from tool search." Claude Code searches itself, and answers with the references in a tool's result; it
also sends deferred tools that are never to be found. Below: the wire's values. Above: `_rules` and `_translation`.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pensieve_protocol._blocks import ContentBlock, OpaqueBlock, ToolReferenceBlock, ToolResultBlock
from pensieve_protocol._requests import CountTokensRequest
from pensieve_protocol._tools import ClientTool, CustomTool, SearchTool

__all__ = ["offered_tools"]


def offered_tools(request: CountTokensRequest) -> tuple[CustomTool | ClientTool, ...]:
    """Return the tools that can be called, in their order; those still deferred were found in the conversation.

    Where a request leaves the search to the server, which has none, nothing would ever be found: then none is deferred.
    """
    tools = tuple(tool for tool in request.tools if not isinstance(tool, SearchTool))
    if len(tools) < len(request.tools):
        return tuple(attrs.evolve(tool, defer_loading=False) for tool in tools)
    found = frozenset(name for block in _blocks(request) for name in _references(block))
    return tuple(tool for tool in tools if not tool.defer_loading or tool.name in found)


def _blocks(request: CountTokensRequest) -> Iterator[ContentBlock]:
    for message in request.messages:
        if not isinstance(message.content, str):
            yield from message.content


def _references(block: ContentBlock) -> Iterator[str]:
    match block:
        case ToolReferenceBlock(tool_name=name) | OpaqueBlock(added_tool=str(name)):
            yield name
        case ToolResultBlock(content=tuple(content)):
            for inner in content:
                yield from _references(inner)
        case _:
            return

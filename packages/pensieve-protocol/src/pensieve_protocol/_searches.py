"""Searches for tools in a conversation that comes back: between the wire's ids and blocks and the model's.

The client is told of a search as the server's own doing, in one message with what follows it. To the model it was a
call, a result in a user turn, and a new turn; so it must be again, or the prefix would end there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pensieve_core import ToolCallId, ToolCallPart, ToolResultPart
from pensieve_protocol._blocks import ContentBlock, OpaqueBlock
from pensieve_protocol._search_turn import search_result_part
from pensieve_protocol._tool_search import SearchFailed, ToolsFound
from pensieve_protocol._tools import SEARCH_TOOL_PREFIX

__all__ = ["engine_call_id", "found_tools", "is_search_result", "search_call", "search_result", "wire_call_id"]

_OURS: Final = "toolu_"
_ON_THE_WIRE: Final = "srvtoolu_"
_RESULTS: Final = frozenset({"tool_search_tool_search_result", "tool_search_tool_result_error"})


def wire_call_id(call_id: ToolCallId) -> str:
    """Return the id of a call that the server runs, as clients expect it."""
    return f"{_ON_THE_WIRE}{call_id.removeprefix(_OURS)}"


def engine_call_id(wire_id: str) -> ToolCallId:
    """Return the engine's own id of that call."""
    return ToolCallId(f"{_OURS}{wire_id.removeprefix(_ON_THE_WIRE)}" if wire_id.startswith(_ON_THE_WIRE) else wire_id)


def is_search_result(block: ContentBlock) -> bool:
    """Return whether `block` tells what a search found, in the form in which it is told here."""
    match block:
        case OpaqueBlock(raw={"type": "tool_search_tool_result", "content": {"type": str(kind)}}):
            return kind in _RESULTS
        case _:
            return False


def search_call(block: OpaqueBlock) -> ToolCallPart | None:
    """Return the call that a `server_tool_use` is, if it is one of a search."""
    match block.raw:
        case {"type": "server_tool_use", "id": str(wire_id), "name": str(name), "input": Mapping() as arguments}:
            if name.startswith(SEARCH_TOOL_PREFIX):
                return ToolCallPart(id=engine_call_id(wire_id), name=name, arguments=arguments)
    return None


def search_result(block: OpaqueBlock) -> ToolResultPart:
    """Return what the model was told of a search."""
    call_id = engine_call_id(str(block.raw.get("tool_use_id", "")))
    match block.raw.get("content"):
        case {"type": "tool_search_tool_result_error", "error_message": str(message)}:
            return search_result_part(call_id, SearchFailed(message=message))
        case {"type": "tool_search_tool_result_error"}:
            return search_result_part(call_id, SearchFailed(message="the search failed"))
        case _:
            return search_result_part(call_id, ToolsFound(names=tuple(found_tools(block))))


def found_tools(block: OpaqueBlock) -> Iterator[str]:
    """Yield the names in a search's result; those of any other block are none."""
    match block.raw:
        case {"type": "tool_search_tool_result", "content": {"tool_references": list(references)}}:
            for reference in references:
                match reference:
                    case {"tool_name": str(name)}:
                        yield name

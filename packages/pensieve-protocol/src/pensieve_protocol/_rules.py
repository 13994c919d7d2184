"""What must hold between the fields of a request, beyond each field's own type.

Lenient where a client's history may have been cut: a tool result whose call is gone, a call whose result is gone,
and neighbours of the same role are all accepted (Claude Code compacts). Pure; the sentence is made in `_validation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pensieve_protocol._blocks import TextBlock
from pensieve_protocol._deferral import offered_tools
from pensieve_protocol._requests import (
    CountTokensRequest,
    EnabledThinking,
    InputMessage,
    MessagesRequest,
    ToolChoiceAny,
    ToolChoiceTool,
)
from pensieve_protocol._terms import INTERLEAVED_THINKING, Terms
from pensieve_protocol._tools import CustomTool, SearchTool
from pensieve_protocol._validation import Problem

__all__ = ["violations"]

# As the API has it: "`tool_use` blocks can only be in `assistant` messages", and so on.
_BLOCKS_NOT_OF_ROLE: Mapping[str, frozenset[str]] = {
    "user": frozenset({"thinking", "redacted_thinking", "tool_use"}),
    "assistant": frozenset({"tool_result"}),
    "system": frozenset({
        "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result",
    }),
}  # fmt: skip


def violations(request: CountTokensRequest, terms: Terms) -> Iterator[Problem]:
    """Yield what is wrong between fields, in the order of the fields."""
    for index, message in enumerate(request.messages):
        yield from _misplaced_blocks(index, message)
    yield from _tool_problems(request)
    yield from _tool_choice_problems(request)
    if request.mcp_servers:
        yield Problem(("mcp_servers",), "this server connects to no MCP servers; let the client do it")
    yield from _prefill_problems(request)
    if isinstance(request, MessagesRequest):
        yield from _budget_problems(request, terms)
        if request.container:
            yield Problem(("container",), "this server has no code execution containers")


def _misplaced_blocks(index: int, message: InputMessage) -> Iterator[Problem]:
    if isinstance(message.content, str):
        return
    misplaced = _BLOCKS_NOT_OF_ROLE[message.role]
    for position, block in enumerate(message.content):
        if block.type in misplaced:
            path = ("messages", index, "content", position, "type")
            yield Problem(path, f"{block.type} blocks cannot be in {message.role} messages")


def _tool_problems(request: CountTokensRequest) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, tool in enumerate(request.tools):
        if tool.name in seen:
            yield Problem(("tools", index, "name"), f"tool names must be unique, got {tool.name!r} again")
        seen.add(tool.name)
        if isinstance(tool, CustomTool) and tool.input_schema.get("type", "object") != "object":
            yield Problem(("tools", index, "input_schema", "type"), "expected 'object'")


def _tool_choice_problems(request: CountTokensRequest) -> Iterator[Problem]:
    """Hold that what must be called can be: a deferred tool that nothing refers to is unknown to the model."""
    names = {tool.name for tool in offered_tools(request)}
    hidden = {tool.name for tool in request.tools if not isinstance(tool, SearchTool)} - names
    match request.tool_choice:
        case ToolChoiceTool(name=name) if name in hidden:
            yield Problem(("tool_choice", "name"), f"the tool {name!r} is deferred, and no tool_reference names it")
        case ToolChoiceTool(name=name) if name not in names:
            yield Problem(("tool_choice", "name"), f"no tool is named {name!r}")
        case ToolChoiceAny() if not names:
            yield Problem(("tool_choice",), "needs at least one tool in tools")
        case _:
            return


def _prefill_problems(request: CountTokensRequest) -> Iterator[Problem]:
    """Refuse, as the API does, white space at the end of what the model is to go on from.

    It rarely finds its way from there: its tokens have their space in front.
    """
    last = request.messages[-1]
    if last.role == "assistant" and _last_text(last)[-1:].isspace():
        path = ("messages", len(request.messages) - 1, "content")
        yield Problem(path, "final assistant content cannot end with trailing whitespace")


def _last_text(message: InputMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    match message.content:
        case (*_, TextBlock(text=text)):
            return text
        case _:
            return ""


def _budget_problems(request: MessagesRequest, terms: Terms) -> Iterator[Problem]:
    """Hold "less than `max_tokens`" (the SDK on `budget_tokens`), save for a request that only warms the cache.

    With tools, reasoning between them has a budget of its own (beta interleaved-thinking-2025-05-14).
    """
    if request.tools and INTERLEAVED_THINKING in terms.betas:
        return
    match request.thinking:
        case EnabledThinking(budget_tokens=budget) if 0 < request.max_tokens <= budget:
            message = f"must be less than max_tokens ({request.max_tokens}), got {budget}"
            yield Problem(("thinking", "budget_tokens"), message)
        case _:
            return

"""The tools that Anthropic has typed and the client runs, spelled out.

Anthropic's models know these tools by their type; a GGUF model has to be told. Names and parameters are those that
the clients implement (https://docs.claude.com/en/docs/agents-and-tools/tool-use: bash, text editor, memory); the
words are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import attrs

from pensieve_core import JsonObject, JsonValue, Tool
from pensieve_protocol._json import dump_json
from pensieve_protocol._tools import BM25_TOOL_PREFIX, ClientTool, CustomTool, RequestTool, SearchTool

__all__ = ["neutral_tools"]


def neutral_tools(tools: tuple[RequestTool, ...]) -> tuple[Tool, ...]:
    """Return core's tools, in the same order."""
    return tuple(_neutral_tool(tool) for tool in tools)


def _neutral_tool(tool: RequestTool) -> Tool:
    match tool:
        case CustomTool():
            return Tool(
                name=tool.name,
                description=_description(tool),
                parameters=tool.input_schema,
                strict=tool.strict,
                cache_mark=tool.cache_control is not None,
                deferred=tool.defer_loading,
            )
        case ClientTool():
            return _expanded(tool)
        case SearchTool():
            described = _BM25 if tool.type.startswith(BM25_TOOL_PREFIX) else _REGEX
            return attrs.evolve(described, name=tool.name, cache_mark=tool.cache_control is not None)
        case _:
            assert_never(tool)


def _description(tool: CustomTool) -> str:
    if not tool.input_examples:
        return tool.description
    examples = "\n".join(dump_json(example).decode() for example in tool.input_examples)
    return f"{tool.description}\n\nExamples of its input:\n{examples}".lstrip()


def _expanded(tool: ClientTool) -> Tool:
    family = next(family for prefix, family in _FAMILIES.items() if tool.type.startswith(prefix))
    is_marked = tool.cache_control is not None
    return attrs.evolve(family, name=tool.name, cache_mark=is_marked, deferred=tool.defer_loading)


def _object(required: tuple[str, ...], **properties: JsonValue) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(required)}


def _string(description: str) -> JsonValue:
    return {"type": "string", "description": description}


def _command(*names: str) -> JsonValue:
    return {"type": "string", "enum": list(names), "description": "What to do."}


_LINE_RANGE: JsonValue = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "For view: first and last line to show, counted from 1; -1 as the last means the end.",
}
_INSERT_LINE: JsonValue = {
    "type": "integer",
    "description": "For insert: the line after which the text goes; 0 is the beginning of the file.",
}

_BASH = Tool(
    name="bash",
    description="Run a command in a bash session that keeps its state between calls.",
    parameters=_object(
        (),
        command=_string("The command to run. Needed unless restart is true."),
        restart={"type": "boolean", "description": "Start the session anew instead of running a command."},
    ),
)

_TEXT_EDITOR = Tool(
    name="str_replace_based_edit_tool",
    description="View, create and edit text files.",
    parameters=_object(
        ("command", "path"),
        command=_command("view", "create", "str_replace", "insert"),
        path=_string("The file; for view also a directory."),
        view_range=_LINE_RANGE,
        file_text=_string("For create: the whole text of the new file."),
        old_str=_string("For str_replace: the text to replace; it must occur exactly once."),
        new_str=_string("For str_replace: the text to put in its place."),
        insert_line=_INSERT_LINE,
        insert_text=_string("For insert: the text to insert."),
    ),
)

_MEMORY = Tool(
    name="memory",
    description="Keep notes in files under /memories that outlast this conversation. Look there before you begin.",
    parameters=_object(
        ("command",),
        command=_command("view", "create", "str_replace", "insert", "delete", "rename"),
        path=_string("The file or directory, under /memories; for all commands but rename."),
        view_range=_LINE_RANGE,
        file_text=_string("For create: the whole text of the file."),
        old_str=_string("For str_replace: the text to replace; it must occur exactly once."),
        new_str=_string("For str_replace: the text to put in its place."),
        insert_line=_INSERT_LINE,
        insert_text=_string("For insert: the text to insert."),
        old_path=_string("For rename: the present path."),
        new_path=_string("For rename: the path to be."),
    ),
)

_SEARCH = "Find further tools, which are not listed here, before you say that you cannot do something. "

_REGEX = Tool(
    name="tool_search_tool_regex",
    description=f"{_SEARCH}Names and descriptions of tools and of their arguments are matched.",
    parameters=_object(("query",), query=_string("A regular expression, as in (?i)weather|forecast.")),
)

_BM25 = Tool(
    name="tool_search_tool_bm25",
    description=f"{_SEARCH}The tools that fit best are returned.",
    parameters=_object(("query",), query=_string("What the tool is to do, in a few words.")),
)

_FAMILIES: Mapping[str, Tool] = {"bash_": _BASH, "text_editor_": _TEXT_EDITOR, "memory_": _MEMORY}

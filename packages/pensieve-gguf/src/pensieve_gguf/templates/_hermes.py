"""Tools as plain text, for models whose template knows none: the convention of Hermes, which Qwen took over.

The wording is our own, the marks are theirs: models have met them in training, and `pensieve_gguf.parsers` reads
them back. Knows text only; `_messages` decides where it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pensieve_core import JsonObject, JsonValue
from pensieve_gguf.templates._canonical import to_json

__all__ = ["call_text", "describe_found", "describe_tools", "response_text"]

_INTRODUCTION = """\
# Tools

You can call the tools below. Each line is a JSON object with the tool's name, what it does, and the JSON schema of
its arguments.
<tools>
"""

_INSTRUCTION = """
</tools>

To call a tool, answer with a JSON object between <tool_call> tags, and nothing after it:
<tool_call>
{"name": "<the tool's name>", "arguments": {<its arguments>}}
</tool_call>
Its result comes back between <tool_response> tags."""


def describe_tools(definitions: Sequence[JsonObject]) -> str:
    """Return the part of a system text that presents these tools, given in OpenAI's form."""
    lines = "\n".join(to_json(definition) for definition in definitions)
    return f"{_INTRODUCTION}{lines}{_INSTRUCTION}"


def describe_found(name: str, definition: JsonObject) -> str:
    """Return what the model reads where it finds a tool that was not described so far."""
    return f"The tool {name} can be called from now on, like the others:\n<tools>\n{to_json(definition)}\n</tools>"


def call_text(name: str, arguments: JsonValue) -> str:
    """Return a call as the model was told to write it."""
    return f"<tool_call>\n{to_json({'name': name, 'arguments': arguments})}\n</tool_call>"


def response_text(texts: Iterable[str]) -> str:
    """Return results of calls, in order."""
    return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)

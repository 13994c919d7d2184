"""The marks that model families put around reasoning and tool calls.

Knows strings and nothing else; `_parser` gives them their meaning. Where a family has several published
spellings, all are listed: small models mix them up.
"""

from __future__ import annotations

from typing import Final

from pensieve_gguf.parsers._dialect import Dialect, dialect_of

__all__ = [
    "CALL_CLOSERS",
    "CALL_MARK",
    "CALL_MARKS",
    "CALL_SEPARATOR",
    "FENCES",
    "FENCE_END",
    "GEMMA_CALLS",
    "HEADER_SEPARATORS",
    "LIST_OPENERS",
    "NAMED_CALL",
    "NAMESPACE",
    "STRAY_BRACE",
    "TAGGED_CALL",
    "THINK_TAGS",
    "WRAPPERS",
    "think_tags",
]

THINK_TAGS: Final = {
    "<think>": "</think>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|channel>thought": "<channel|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
}
"""Opener → closer. The first is recognised always (R1's children emit it untold), the others when the template
knows them."""

CALL_MARK: Final = "<tool_call>"
"""What most models are told to write before a call: what follows it in braces is meant to be one."""

CALL_MARKS: Final = frozenset({CALL_MARK, "<|python_tag|>", "[TOOL_CALLS]"})
"""Those who write JSON behind such a mark mean a call, too."""

_TAG_NAMES: Final = ("tool_call", "tool_calls", "tools", "function_call", "function_calls", "functioncall", "TOOLCALL")

# Granite, Llama: the same JSON behind a mark that nothing closes. Mistral: likewise, or a bare name.
_OPEN_MARKS: Final = ("[TOOL_CALLS]", "<|tool_call|>", "<|python_tag|>")

_BAR: Final = "\uff5c"  # DeepSeek's marks have full-width bars


def _deepseek(*names: str) -> tuple[str, ...]:
    return tuple(f"<{_BAR}{name}{_BAR}>" for name in names)


# They are single tokens, yet its models also spell them out, in the variants that llama.cpp collected.
_DEEPSEEK_CALLS: Final = _deepseek(
    "tool▁calls▁begin", "tool_calls_begin", "tool calls begin", r"tool\_calls\_begin", "tool▁calls"
)
_DEEPSEEK_CALL: Final = _deepseek("tool▁call▁begin", "tool_call_begin")
_DEEPSEEK_ENDS: Final = _deepseek("tool▁call▁end", "tool_call_end", "tool▁calls▁end", "tool_calls_end")

_KIMI_CALLS: Final = ("<|tool_calls_section_begin|>", "<|tool_call_section_begin|>")
_KIMI_CALL: Final = "<|tool_call_begin|>"
_KIMI_ENDS: Final = ("<|tool_call_end|>", "<|tool_calls_section_end|>", "<|tool_call_section_end|>")

NAMED_CALL: Final = frozenset({"[TOOL_CALLS]", _KIMI_CALL, *_DEEPSEEK_CALL})
"""What may follow is the bare name of a tool, and then JSON."""

HEADER_SEPARATORS: Final = (
    *("[CALL_ID]", "[ARGS]", "<|tool_call_argument_begin|>"),
    *_deepseek("tool▁sep", "tool_sep"),
)
"""Between the words of such a header."""

NAMESPACE: Final = "functions."
"""Kimi and gpt-oss put it before a tool's name."""

GEMMA_CALLS: Final = {"<|tool_call>": '<|"|>', "<start_function_call>": "<escape>"}
"""Mark → what stands for quotes behind it."""

WRAPPERS: Final = frozenset(
    {*(f"<{name}>" for name in _TAG_NAMES), *_OPEN_MARKS, *_DEEPSEEK_CALLS, *_KIMI_CALLS, *NAMED_CALL, *GEMMA_CALLS}
)
"""May stand anywhere before a call; worth nothing when no call follows."""

FENCES: Final = frozenset(
    f"```{language}\n" for language in ("", "json", "jsonc", "xml", "text", "tool_call", "tool_code", "tools")
)
"""Open a wrapper, too, but at the start of a line only."""

FENCE_END: Final = "```"

LIST_OPENERS: Final = frozenset({"[", "{"})
"""A call with nothing around it, or a list of such: at the start of a line only."""

TAGGED_CALL: Final = "<function="
"""The name of a tool follows, and then tags for its parameters."""

_GEMMA_ENDS: Final = ("<tool_call|>", "<end_function_call>")

CALL_CLOSERS: Final = frozenset(
    {*(f"</{name}>" for name in _TAG_NAMES), "</function>", *_DEEPSEEK_ENDS, *_KIMI_ENDS, *_GEMMA_ENDS}
)
"""Swallowed after a call, however often they come; ordinary text elsewhere."""

CALL_SEPARATOR: Final = ";"
"""Llama puts it between two calls; it is text if no call follows."""

STRAY_BRACE: Final = "}"
"""Swallowed after a call, too: Qwen2.5-Coder's own template shows calls in double braces, and the model closes both."""


def think_tags(template_source: str) -> dict[str, str]:
    """Return the reasoning tags to expect of a model with this chat template, opener → closer."""
    if dialect_of(template_source) is Dialect.HARMONY:
        return {"<|channel|>analysis<|message|>": "<|end|>"}
    default = next(iter(THINK_TAGS))
    return {opener: closer for opener, closer in THINK_TAGS.items() if opener == default or closer in template_source}

"""How a model family writes a tool call: the marks around its name and its arguments.

Values only, and which one a template speaks. `_grammars` makes a grammar of them; `pensieve_gguf.parsers` reads all of
them back, whichever the model was told, so a family that is missing here calls as Hermes does and is understood.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["DEEPSEEK_V3", "DEEPSEEK_V31", "HERMES", "Dialect", "dialect_of"]


@attrs.frozen(kw_only=True)
class Dialect:
    """The text of calls: `begin before NAME middle ARGUMENTS after between … end`."""

    before: str
    middle: str
    after: str
    between: str = "\n"
    """Between two calls."""
    begin: str = ""
    """Before the first call."""
    end: str = ""
    """After the last one."""


HERMES: Final = Dialect(
    before='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    after="}\n</tool_call>",
)
"""Hermes and Qwen, word for word as their templates show it; and our own words where a template knows no tools."""

_BAR: Final = "\uff5c"  # DeepSeek's marks have full-width bars


def _mark(name: str) -> str:
    return f"<{_BAR}{name}{_BAR}>"


DEEPSEEK_V3: Final = Dialect(
    begin=_mark("tool▁calls▁begin"),
    before=f"{_mark('tool▁call▁begin')}function{_mark('tool▁sep')}",
    middle="\n```json\n",
    after=f"\n```{_mark('tool▁call▁end')}",
    end=_mark("tool▁calls▁end"),
)
"""R1, V3 and their children."""

DEEPSEEK_V31: Final = Dialect(
    begin=_mark("tool▁calls▁begin"),
    before=_mark("tool▁call▁begin"),
    middle=_mark("tool▁sep"),
    after=_mark("tool▁call▁end"),
    between="",
    end=_mark("tool▁calls▁end"),
)


def dialect_of(template_source: str, *, renders_tools: bool) -> Dialect:
    """Return how a model with this chat template writes calls.

    Args:
        template_source: The Jinja source.
        renders_tools: The template presents tools itself; otherwise they are presented in Hermes' words.
    """
    if not renders_tools or DEEPSEEK_V3.begin not in template_source:
        return HERMES
    return DEEPSEEK_V3 if "```json" in template_source else DEEPSEEK_V31

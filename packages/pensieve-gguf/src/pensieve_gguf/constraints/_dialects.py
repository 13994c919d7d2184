"""How each dialect spells a tool call: the marks around its name and its arguments.

Values only. `_grammars` makes a grammar of them; `pensieve_gguf.parsers` reads all of them back, whichever the model
was told.
"""

from __future__ import annotations

from typing import Final

import attrs

from pensieve_gguf.parsers import GLM_TAGS, QWEN_TAGS, Dialect, Tags, dialect_of

__all__ = ["HERMES", "Spelling", "spelling_of"]


@attrs.frozen(kw_only=True)
class Spelling:
    """The text of calls: `begin mark before NAME middle ARGUMENTS after between … end`."""

    begin: str = ""
    """Before the first call."""
    mark: str = ""
    """What says that a call follows."""
    before: str = ""
    numbered: bool = False
    """After the name stand a colon and the number of the call."""
    middle: str = ""
    after: str = ""
    between: str = "\n"
    """Between two calls."""
    end: str = ""
    """After the last one."""
    reasoning: tuple[str, str] | None = None
    """What stands around reasoning, where that is a message like any other and not a mark."""
    answer: str = ""
    """Before an answer that is no call."""
    tags: Tags | None = None
    """What stands around parameters, where arguments are no JSON; no `middle` then."""
    members: tuple[str, str] | None = None
    """The keys of name and arguments, where a call is one JSON object."""


_NAME: Final = '{"name": "'

HERMES: Final = Spelling(
    mark="<tool_call>\n",
    before=_NAME,
    middle='", "arguments": ',
    after="}\n</tool_call>",
    members=("name", "arguments"),
)
"""Word for word as the templates show it; and our own words where a template knows no tools."""

_BAR: Final = "\uff5c"  # DeepSeek's marks have full-width bars


def _mark(name: str) -> str:
    return f"<{_BAR}{name}{_BAR}>"


_DEEPSEEK_V3: Final = Spelling(
    begin=_mark("tool▁calls▁begin"),
    mark=_mark("tool▁call▁begin"),
    before=f"function{_mark('tool▁sep')}",
    middle="\n```json\n",
    after=f"\n```{_mark('tool▁call▁end')}",
    end=_mark("tool▁calls▁end"),
)

_SPELLINGS: Final = {
    Dialect.QWEN_CODER: Spelling(mark="<tool_call>\n<function=", tags=QWEN_TAGS, after="\n</tool_call>"),
    Dialect.GLM: Spelling(mark="<tool_call>", tags=GLM_TAGS),
    Dialect.LLAMA: Spelling(
        before=_NAME,
        middle='", "parameters": ',
        after="}",
        members=("name", "parameters"),
    ),
    Dialect.MISTRAL_LIST: Spelling(
        begin="[TOOL_CALLS][",
        before=_NAME,
        middle='", "arguments": ',
        after="}",
        between=", ",
        end="]",
        members=("name", "arguments"),
    ),
    Dialect.MISTRAL: Spelling(mark="[TOOL_CALLS]", middle="[ARGS]", between=""),
    Dialect.DEEPSEEK_V3: _DEEPSEEK_V3,
    Dialect.DEEPSEEK_V31: attrs.evolve(
        _DEEPSEEK_V3, before="", middle=_mark("tool▁sep"), after=_mark("tool▁call▁end"), between=""
    ),
    Dialect.HARMONY: Spelling(
        mark="<|channel|>commentary to=functions.",
        middle=" <|constrain|>json<|message|>",
        between="<|end|><|start|>assistant",
        reasoning=("<|channel|>analysis<|message|>", "<|end|>"),
        answer="<|channel|>final<|message|>",
    ),
    Dialect.KIMI: Spelling(
        begin="<|tool_calls_section_begin|>",
        mark="<|tool_call_begin|>",
        before="functions.",
        numbered=True,
        middle="<|tool_call_argument_begin|>",
        after="<|tool_call_end|>",
        between="",
        end="<|tool_calls_section_end|>",
    ),
}
"""Whoever is missing calls as Hermes does when a call is demanded, and is understood."""


def spelling_of(template_source: str, *, renders_tools: bool) -> Spelling:
    """Return how a model with this chat template spells calls.

    Args:
        template_source: The Jinja source.
        renders_tools: The template presents tools itself; otherwise they are presented in Hermes' words.
    """
    return _SPELLINGS.get(dialect_of(template_source), HERMES) if renders_tools else HERMES

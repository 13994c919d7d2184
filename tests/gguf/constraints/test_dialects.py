"""How each dialect spells its calls, and that our parser reads them back."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from pensieve_core import GenerationRequest, Tool, ToolCallArguments, ToolCallId, ToolCallStarted
from pensieve_gguf.constraints._dialects import HERMES, Spelling, spelling_of
from pensieve_gguf.parsers import make_parser

SOURCES = {
    "hermes": "<tool_call>",
    "llama": "<|start_header_id|> '\"parameters\": '",
    "mistral list": "[TOOL_CALLS]",
    "mistral": "[TOOL_CALLS] [ARGS]",
    "deepseek v3": "<\uff5ctool▁calls▁begin\uff5c> ```json",
    "deepseek v3.1": "<\uff5ctool▁calls▁begin\uff5c>",
    "kimi": "<|tool_call_begin|>",
    "qwen coder": "<function= <parameter=",
    "glm": "<arg_key> <arg_value>",
    "harmony": "<|channel|> <|message|>",
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())


def written(spelling: Spelling, arguments: str) -> str:
    """Return a call of `ls`."""
    if spelling.tags is not None:
        tags = spelling.tags
        parameter = f"{tags.key}path{tags.after_key}{tags.value}/{tags.after_value}"
        return f"{spelling.mark}ls{tags.after_name}\n{parameter}{tags.end}{spelling.after}"
    number = ":0" if spelling.numbered else ""
    return f"{spelling.mark}{spelling.before}ls{number}{spelling.middle}{arguments}{spelling.after}"


@each_source
def test_the_parser_reads_back_what_a_dialect_spells(
    source: str, make_request: Callable[..., GenerationRequest]
) -> None:
    spelling = spelling_of(source, renders_tools=True)
    request = make_request(tools=(Tool(name="ls", parameters={}),))
    numbers = itertools.count(1)
    parser = make_parser(source, request, opens_thinking=False, new_call_id=lambda: ToolCallId(str(next(numbers))))
    call = written(spelling, '{"path": "/"}')
    events = parser.feed(f"{spelling.begin}{call}{spelling.between}{call}{spelling.end}") + parser.finish()
    assert events == (
        ToolCallStarted(id=ToolCallId("1"), name="ls"),
        ToolCallArguments(fragment='{"path":"/"}'),
        ToolCallStarted(id=ToolCallId("2"), name="ls"),
        ToolCallArguments(fragment='{"path":"/"}'),
    )


def test_each_dialect_has_a_spelling_of_its_own() -> None:
    assert len({spelling_of(source, renders_tools=True) for source in SOURCES.values()}) == len(SOURCES)


@each_source
def test_tools_that_we_describe_are_called_in_our_words(source: str) -> None:
    assert spelling_of(source, renders_tools=False) == HERMES

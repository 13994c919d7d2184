"""Ours: what the parser tells, beside its events, of the place where the text stands."""

from __future__ import annotations

import pytest

from pensieve_core import GenerationRequest, ModelId, RequestId, Tool, ToolCallId
from pensieve_gguf.parsers import GLM_TAGS, QWEN_TAGS, OpenCall, OutputParser, make_parser

BAR = "\uff5c"


def open_parser(*, opens_thinking: bool = False) -> OutputParser:
    tools = (Tool(name="ls", parameters={}), Tool(name="cat", parameters={}))
    request = GenerationRequest(id=RequestId("r"), model=ModelId("m"), turns=(), tools=tools, max_tokens=9)
    return make_parser("", request, opens_thinking=opens_thinking, new_call_id=lambda: ToolCallId("toolu_1"))


HERMES = '<tool_call>{"name": "ls", "arguments": '
DEEPSEEK = f"<{BAR}tool▁call▁begin{BAR}>ls<{BAR}tool▁sep{BAR}>"


@pytest.mark.parametrize("header", [HERMES, DEEPSEEK, HERMES.removeprefix("<tool_call>")])
def test_a_call_is_open_from_its_first_brace_to_its_last(header: str) -> None:
    parser = open_parser()
    for char in header:
        parser.feed(char)
        assert parser.opened is None or not parser.opened.name
    written = ""
    for piece in ('{ "path"', ': "/', '"', "\n"):
        parser.feed(piece)
        written += piece
        assert parser.opened == OpenCall(number=1, name="ls", text=written)
    parser.feed("}")
    assert parser.opened is None


def test_what_stands_in_braces_after_the_mark_of_a_call_is_meant_to_be_one() -> None:
    """Before its arguments it has no name."""
    parser = open_parser()
    parser.feed("Now: <tool_call>\n ")
    assert parser.opened is None
    said = ""
    for piece in ("{", ' "na', 'me": "rm', '"'):
        parser.feed(piece)
        said += piece
        assert parser.opened == OpenCall(number=1, name="", text=said)
    parser.feed(",")
    assert parser.opened is None, "there is no such tool"


@pytest.mark.parametrize("mark", ["", "<tools>", "```json\n", "[", "<tool_call> {} "])
def test_braces_after_other_marks_may_be_anything(mark: str) -> None:
    parser = open_parser()
    parser.feed(f'{mark}{{"name": "ls"')
    assert parser.opened is None


def test_calls_are_numbered() -> None:
    parser = open_parser()
    parser.feed(f'{HERMES}{{}}}}</tool_call>\n{HERMES.replace("ls", "cat")}{{"a')
    assert parser.opened == OpenCall(number=2, name="cat", text='{"a')


@pytest.mark.parametrize(
    "text",
    [
        "Hello.",
        '<tool_call>{"name": "rm", "arguments": {',
        '{"arguments": {"path": "/',
        '{"name": "ls", "arguments": "{',
        '{"name": "ls"}',
        "<tool_call>",
    ],
)
def test_what_is_no_call_or_does_not_stream_is_not_open(text: str) -> None:
    parser = open_parser()
    parser.feed(text)
    assert parser.opened is None
    parser.finish()
    assert parser.opened is None


def test_long_arguments_are_not_kept() -> None:
    parser = open_parser()
    parser.feed(f'{HERMES}{{"path": "')
    for _ in range(300):
        parser.feed("a")
    assert parser.opened is None
    assert parser.feed('"}}</tool_call>')


def test_the_parser_tells_whether_the_model_reasons() -> None:
    parser = open_parser(opens_thinking=True)
    for text, thinking in (("Hm.", True), ("</th", True), ("ink>", False), ("<think>", True), ("</think>", False)):
        parser.feed(text)
        assert parser.thinking == thinking
    parser.feed("So: <think>")
    assert not parser.thinking


@pytest.mark.parametrize("mark", ["", "```json\n", "[", "<tools>"])
@pytest.mark.parametrize("tail", ['"arguments": [1]}', '"input": 3}', '"parameters": "none"}'])
def test_what_names_a_tool_and_has_no_arguments_that_can_be_read_is_a_broken_call(mark: str, tail: str) -> None:
    parser = open_parser()
    parser.feed(f'So:\n{mark}{{"name": "ls", ')
    assert (parser.broken, parser.holds) == (0, True)
    parser.feed(tail)
    assert parser.broken == 1
    parser.feed("\nOops.\n")
    assert (parser.broken, parser.holds) == (1, False)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "ls", "description": "Lists."}',
        '{"name": "ls"}',
        '{"name": "rm", "arguments": []}',
        '{"name": "ls", "arguments": {}}',
        "<function=rm>",
        "<function=ls></function>",
        "Use ls.",
    ],
)
def test_what_may_be_meant_otherwise_is_none(text: str) -> None:
    """Small models repeat the schemas of tools."""
    parser = open_parser()
    parser.feed(text)
    parser.finish()
    assert parser.broken == 0


def test_calls_tell_the_form_that_they_are_written_in() -> None:
    for text, tags in ((f"{HERMES}{{", None), ("<function=ls><", QWEN_TAGS), ("<tool_call>ls\n<", GLM_TAGS)):
        parser = open_parser()
        parser.feed(text)
        assert parser.opened is not None
        assert (parser.opened.name, parser.opened.tags) == ("ls", tags)

"""Which dialect a template speaks, and that our parser reads it back."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from pensieve_core import GenerationRequest, Tool, ToolCallArguments, ToolCallId, ToolCallStarted
from pensieve_gguf.constraints._dialects import DEEPSEEK_V3, DEEPSEEK_V31, HERMES, Dialect, dialect_of
from pensieve_gguf.parsers import make_parser


@pytest.mark.parametrize(
    ("source", "renders_tools", "dialect"),
    [
        ("…<tool_call>…", True, HERMES),
        (f"…{DEEPSEEK_V3.begin}…```json…", True, DEEPSEEK_V3),
        (f"…{DEEPSEEK_V31.begin}…", True, DEEPSEEK_V31),
        (f"…{DEEPSEEK_V31.begin}…", False, HERMES),
        ("", False, HERMES),
    ],
)
def test_a_template_tells_its_dialect(source: str, renders_tools: bool, dialect: Dialect) -> None:  # noqa: FBT001 - a row
    assert dialect_of(source, renders_tools=renders_tools) == dialect


@pytest.mark.parametrize("dialect", [HERMES, DEEPSEEK_V3, DEEPSEEK_V31], ids=["hermes", "v3", "v3.1"])
def test_the_parser_reads_back_what_a_dialect_writes(
    dialect: Dialect, make_request: Callable[..., GenerationRequest]
) -> None:
    request = make_request(tools=(Tool(name="ls", parameters={}),))
    numbers = itertools.count(1)
    parser = make_parser("", request, opens_thinking=False, new_call_id=lambda: ToolCallId(str(next(numbers))))
    call = f'{dialect.before}ls{dialect.middle}{{"path": "/"}}{dialect.after}'
    events = parser.feed(f"{dialect.begin}{call}{dialect.between}{call}{dialect.end}") + parser.finish()
    assert events == (
        ToolCallStarted(id=ToolCallId("1"), name="ls"),
        ToolCallArguments(fragment='{"path":"/"}'),
        ToolCallStarted(id=ToolCallId("2"), name="ls"),
        ToolCallArguments(fragment='{"path":"/"}'),
    )

"""Every dialect's way of calling: goldens as files, cut at every byte; and properties for all of them.

The formats are those that llama.cpp's tests/test-chat.cpp and the templates themselves show; the samples are ours.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    GenerationRequest,
    ModelId,
    RequestId,
    Role,
    TextPart,
    Tool,
    ToolCallId,
    ToolChoice,
    Turn,
)
from pensieve_gguf.parsers import Dialect, OutputParser, Utf8Decoder, dialect_of, make_parser
from pensieve_gguf.testing import spell

GOLDENS: Final = Path(__file__).parent / "goldens"

TOOLS: Final = (
    Tool(
        name="Bash",
        parameters={
            "type": "object",
            "properties": {"command": {"type": "string"}, "timeout": {"type": "integer"}},
        },
    ),
    Tool(name="Read", parameters={"type": "object", "properties": {"file_path": {"type": "string"}}}),
    Tool(
        name="Write",
        parameters={"properties": {"file_path": {"type": "string"}, "content": {"type": "string"}}},
    ),
    Tool(
        name="Set",
        parameters={
            "properties": {
                "count": {"type": "integer"},
                "flag": {"type": "boolean"},
                "ratio": {"type": "number"},
                "tags": {"type": "array"},
                "options": {"type": "object"},
                "label": {"type": "string"},
                "kind": {"enum": ["fast", "slow"]},
                "name": {"type": ["string", "null"]},
                "union": {"anyOf": [{"type": "string"}, {"type": "object"}]},
                "amount": {"oneOf": [{"const": "x"}, {"type": "number"}]},
            }
        },
    ),
)


@attrs.frozen
class Golden:
    dialect: str
    title: str
    text: str
    events: list[str]


def read_goldens(path: Path) -> list[Golden]:
    goldens = []
    for section in f"\n{path.read_text()}".split("\n== ")[1:]:
        written, _, meant = f"{section}\n".partition("\n--\n")
        title, _, text = written.partition("\n")
        events = [json.loads(line) for line in meant.splitlines() if line]
        goldens.append(Golden(path.stem, title, text, events))
    return goldens


ALL: Final = [golden for path in sorted(GOLDENS.glob("*.txt")) for golden in read_goldens(path)]
each_golden = pytest.mark.parametrize("golden", ALL, ids=[f"{golden.dialect}: {golden.title}" for golden in ALL])

SOURCES: Final = {
    "openai-gpt-oss-120b": "<|channel|> <|message|>",
    "google-gemma-4-31B-it": "<|tool_call>call: <|channel>thought <channel|>",
    "unsloth-mistral-Devstral-Small-2507": "[TOOL_CALLS] [ARGS] [THINK] [/THINK]",
}
"""What of a template the parser looks for, where that is more than nothing."""


def make_request(*, parallel: bool = True) -> GenerationRequest:
    return GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("m"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text="hi"),)),),
        tools=TOOLS,
        tool_choice=ToolChoice(parallel=parallel),
        max_tokens=100,
    )


def open_parser(dialect: str, *, parallel: bool = True) -> OutputParser:
    numbers = itertools.count(1)
    return make_parser(
        SOURCES.get(dialect, ""),
        make_request(parallel=parallel),
        opens_thinking=False,
        new_call_id=lambda: ToolCallId(f"toolu_{next(numbers)}"),
    )


def parse(pieces: Sequence[str], parser: OutputParser) -> list[str]:
    events = [event for piece in pieces for event in parser.feed(piece)]
    return spell([*events, *parser.finish()])


@each_golden
def test_an_answer_means_what_the_golden_says(golden: Golden) -> None:
    assert parse([golden.text], open_parser(golden.dialect)) == golden.events


@each_golden
def test_cut_at_any_byte_it_means_the_same(golden: Golden) -> None:
    data = golden.text.encode()
    for cut in range(len(data) + 1):
        decoder = Utf8Decoder()
        pieces = [decoder.feed(data[:cut]), decoder.feed(data[cut:])]
        assert parse(pieces, open_parser(golden.dialect)) == golden.events, data[:cut]


@each_golden
def test_byte_by_byte_it_means_the_same(golden: Golden) -> None:
    decoder = Utf8Decoder()
    pieces = [decoder.feed(bytes([byte])) for byte in golden.text.encode()]
    assert parse(pieces, open_parser(golden.dialect)) == golden.events


@each_golden
def test_every_beginning_of_an_answer_has_sound_arguments(golden: Golden) -> None:
    """pensieve_core: all fragments of one call concatenate to one JSON object, wherever the answer ended."""
    for cut in range(len(golden.text)):
        lines = parse([golden.text[:cut]], open_parser(golden.dialect))
        for name, arguments in itertools.pairwise(lines):
            if name.startswith("call "):
                assert isinstance(json.loads(arguments.removeprefix("args ")), dict), golden.text[:cut]


@each_golden
def test_without_parallel_calls_the_first_one_ends_the_answer(golden: Golden) -> None:
    called = [line for line in golden.events if line.startswith("call ")]
    if called:
        upto = golden.events.index(called[0]) + 2
        assert parse([golden.text], open_parser(golden.dialect, parallel=False))[:upto] == golden.events[:upto]


PIECES: Final = sorted({piece for golden in ALL for piece in (golden.text, *golden.text.split("\n"))})


@st.composite
def cut_answers(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Pieces of all dialects, whole and broken off, in any order and cut anywhere."""
    chosen = draw(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(0, 40)), max_size=4))
    text = "".join(piece[: len(piece) - off] for piece, off in chosen)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return text, [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]


@pytest.mark.parametrize("dialect", sorted({golden.dialect for golden in ALL}))
@given(answer=cut_answers())
def test_the_meaning_does_not_depend_on_the_cut(dialect: str, answer: tuple[str, list[str]]) -> None:
    text, pieces = answer
    assert parse(pieces, open_parser(dialect)) == parse([text], open_parser(dialect))


@pytest.mark.parametrize(
    ("source", "dialect"),
    [
        ("", Dialect.HERMES),
        ("… <tool_call>{name, arguments}</tool_call> …", Dialect.HERMES),
        ("<tool_call><function=x><parameter=y>", Dialect.QWEN_CODER),
        ("<|start_header_id|> '\"parameters\": '", Dialect.LLAMA),
        ("[TOOL_CALLS][", Dialect.MISTRAL_LIST),
        ("[TOOL_CALLS]name[ARGS]", Dialect.MISTRAL),
        ("<\uff5ctool▁calls▁begin\uff5c> ```json", Dialect.DEEPSEEK_V3),
        ("<\uff5ctool▁calls▁begin\uff5c>", Dialect.DEEPSEEK_V31),
        ("<|start|><|channel|><|message|>", Dialect.HARMONY),
        ("<tool_call>name<arg_key>k</arg_key><arg_value>", Dialect.GLM),
        ("<|tool_call>call:", Dialect.GEMMA),
        ("<|tool_call_begin|>", Dialect.KIMI),
    ],
)
def test_a_template_tells_its_dialect(source: str, dialect: Dialect) -> None:
    assert dialect_of(source) is dialect

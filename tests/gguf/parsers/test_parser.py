"""What models say, and what it means: goldens for every dialect, and properties for all of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import orjson
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
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
    Turn,
)
from pensieve_gguf.parsers import OutputParser, make_parser
from pensieve_gguf.testing import spell

LS = '{"name": "Bash", "arguments": {"command": "ls -la"}}'
LS_CALL = ["call Bash", 'args {"command":"ls -la"}']
CAT = '{"name": "Read", "arguments": {"file_path": "/a"}}'
CAT_CALL = ["call Read", 'args {"file_path":"/a"}']


def make_request(
    *,
    tools: Sequence[str] = ("Bash", "Read"),
    choice: ToolChoice | None = None,
    last: tuple[Role, str] = (Role.USER, "hi"),
) -> GenerationRequest:
    return GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("m"),
        turns=(Turn(role=last[0], parts=(TextPart(text=last[1]),)),),
        tools=tuple(Tool(name=name, parameters={"type": "object"}) for name in tools),
        tool_choice=choice or ToolChoice(),
        max_tokens=100,
    )


def open_parser(
    request: GenerationRequest | None = None, *, opens_thinking: bool = False, template: str = ""
) -> OutputParser:
    numbers = itertools.count(1)
    return make_parser(
        template,
        request or make_request(),
        opens_thinking=opens_thinking,
        new_call_id=lambda: ToolCallId(f"toolu_{next(numbers)}"),
    )


def parse(pieces: str | Sequence[str], parser: OutputParser | None = None) -> list[str]:
    parser = parser or open_parser()
    events = [event for piece in ([pieces] if isinstance(pieces, str) else pieces) for event in parser.feed(piece)]
    return spell([*events, *parser.finish()])


BAR = "\uff5c"


def deepseek(text: str) -> str:
    return text.replace("<|", f"<{BAR}").replace("|>", f"{BAR}>")


V3 = deepseek(
    "<|tool▁calls▁begin|><|tool▁call▁begin|>function<|tool▁sep|>Bash\n```json\n"
    '{"command": "ls -la"}\n```<|tool▁call▁end|>\n<|tool▁call▁begin|>function<|tool▁sep|>Read\n```json\n'
    '{"file_path": "/a"}\n```<|tool▁call▁end|><|tool▁calls▁end|>'
)
V31 = deepseek(
    '<|tool▁calls▁begin|><|tool▁call▁begin|>Bash<|tool▁sep|>{"command": "ls -la"}<|tool▁call▁end|>'
    '<|tool▁call▁begin|>Read<|tool▁sep|>{"file_path": "/a"}<|tool▁call▁end|><|tool▁calls▁end|>'
)

GOLDENS: dict[str, tuple[str, list[str]]] = {
    # Ordinary answers.
    "text": ("Hello,  world.", ["text Hello,  world."]),
    # Qwen2.5-Coder under Claude Code: answers that begin with an empty pair of tags, again and again.
    "nothing between tags, then text": ("<tools></tools>\nHello.", ["text Hello."]),
    "nothing between tags, then a call": (f"<tools>\n</tools>\n{LS}", LS_CALL),
    "nothing between tags, twice": (f"<tools></tools><tool_call></tool_call>{LS}", LS_CALL),
    "nothing between tags, and no more": ("<tools></tools>", []),
    "nothing between tags that are not a pair": ("<tools></tool_call>", ["text <tools></tool_call>"]),
    "nothing between tags, cut off": ("<tools></tool", ["text <tools></tool"]),
    "nothing between tags, in an answer": ("Say <tools></tools>.", ["text Say <tools></tools>."]),
    "empty": ("", []),
    "white space only": (" \n\n ", []),
    "leading line breaks": ("\n\n  indented\n", ["text   indented\n"]),
    "code": ("```python\nx = {}\n```", ["text ```python\nx = {}\n```"]),
    "json for people": ('```json\n{"a": 1}\n```', ['text ```json\n{"a": 1}\n```']),
    "json document": ('{"a": [1, 2]}', ['text {"a": [1, 2]}']),
    "a tag in prose": ("Use <tool_call> tags, as in a[1] < b.", ["text Use <tool_call> tags, as in a[1] < b."]),
    "a closing tag in prose": ("close with </tool_call>.", ["text close with </tool_call>."]),
    "only the opener": ("<tool_call>", ["text <tool_call>"]),
    "an opener cut short": ("So <tool_ca", ["text So <tool_ca"]),
    # Hermes, Qwen.
    "one call": (f"<tool_call>\n{LS}\n</tool_call>", LS_CALL),
    "text, then a call": (f"Let me look.\n\n<tool_call>\n{LS}\n</tool_call>", ["text Let me look.", *LS_CALL]),
    "a call, then text": (f"<tool_call>{LS}</tool_call>\n\nDone.", [*LS_CALL, "text Done."]),
    "two tags": (f"<tool_call>\n{LS}\n</tool_call>\n<tool_call>\n{CAT}\n</tool_call>", [*LS_CALL, *CAT_CALL]),
    "two objects in one tag": (f"<tool_call>\n{LS}\n{CAT}\n</tool_call>", [*LS_CALL, *CAT_CALL]),
    "a closer too many": (f"<tool_call>{LS}</tool_call></tool_call>\n</tool_call>", LS_CALL),
    "a brace too many": (f"<tool_call>{LS}}}</tool_call>", LS_CALL),
    "a brace too many, and text": (f"{LS}}}\nDone.", [*LS_CALL, "text Done."]),
    "a closer cut short": (f"<tool_call>{LS}</tool_c", LS_CALL),
    "less than after a call": (f"<tool_call>{LS}</tool_call> <b>", [*LS_CALL, "text  <b>"]),
    "no arguments": ('<tool_call>{"name": "Bash"}</tool_call>', ["call Bash", "args {}"]),
    "null arguments": ('<tool_call>{"name": "Bash", "arguments": null}</tool_call>', ["call Bash", "args {}"]),
    "parameters": (LS.replace("arguments", "parameters"), LS_CALL),
    "input": (LS.replace("arguments", "input"), LS_CALL),
    "under function": (f'{{"type": "function", "function": {LS}, "id": "x"}}', LS_CALL),
    "function is the name": (LS.replace('"name"', '"function"'), LS_CALL),
    "arguments first": ('{"arguments": {"command": "ls -la"}, "name": "Bash"}', LS_CALL),
    "arguments as a string": ('{"name": "Bash", "arguments": "{\\"command\\": \\"ls -la\\"}"}', LS_CALL),
    "arguments as an empty string": ('{"name": "Bash", "arguments": ""}', ["call Bash", "args {}"]),
    "keys after the arguments": (LS[:-1] + ', "why": ["because", {"x": 1}]}', LS_CALL),
    # Observed: Qwen2.5-Coder-1.5B opens its calls with <tools>, a fence, or nothing; its template shows double braces.
    "tools tag": (f"<tools>\n{LS}\n</tools>", LS_CALL),
    "function_call tag": (f"<function_call>{LS}</function_call>", LS_CALL),
    "json fence": (f"```json\n{LS}\n```", LS_CALL),
    "json fence, then text": (f"Like so:\n```json\n{LS}\n```\nDone.", ["text Like so:", *LS_CALL, "text Done."]),
    "two fences": (f"```json\n{LS}\n```\n```json\n{CAT}\n```\n", [*LS_CALL, *CAT_CALL]),
    "a fence, then another": (f"```json\n{LS}\n```\n\n```sh\nls\n```", [*LS_CALL, "text ```sh\nls\n```"]),
    "two calls in a fence": (f"```\n{LS}\n{CAT}\n```", [*LS_CALL, *CAT_CALL]),
    "plain fence": (f"```\n{LS}\n```", LS_CALL),
    "xml fence": (f"```xml\n<tool_call>\n{LS}\n</tool_call>\n```", LS_CALL),
    "bare": (LS, LS_CALL),
    "bare after text": (f"I will.\n{LS}", ["text I will.", *LS_CALL]),
    "bare, indented": (f"  {LS}\n", LS_CALL),
    "bare within a line": (f"So {LS}", [f"text So {LS}"]),
    "double braces": (f"<tool_call>\n{{{LS}}}\n</tool_call>", LS_CALL),
    "a list": (f"[{LS}, {CAT}]", [*LS_CALL, *CAT_CALL]),
    "a list in a tag": (f"<tool_calls>[\n{LS},\n{CAT}\n]</tool_calls>", [*LS_CALL, *CAT_CALL]),
    "mistral": (f"[TOOL_CALLS][{LS}, {CAT}]", [*LS_CALL, *CAT_CALL]),
    "mistral in prose": ("See [TOOL_CALLS].", ["text See [TOOL_CALLS]."]),
    "nemotron": (f"<TOOLCALL>[{LS}]</TOOLCALL>", LS_CALL),
    "granite": (f"<|tool_call|>[{LS}]", LS_CALL),
    "llama 3": (f"<|python_tag|>{LS.replace('arguments', 'parameters')}", LS_CALL),
    "a tool's schema repeated": (
        '<tools>{"name": "Bash", "description": "Runs.", "parameters": {}}</tools>',
        ['text <tools>{"name": "Bash", "description": "Runs.", "parameters": {}}</tools>'],
    ),
    # Not our tools.
    "unknown name": (
        '<tool_call>\n{"name": "Nope", "arguments": {}}\n</tool_call> x',
        ['text <tool_call>\n{"name": "Nope", "arguments": {}}\n</tool_call> x'],
    ),
    "unknown, then known": (
        f'{{"name": "Nope", "arguments": {{}}}}\n{LS}',
        ['text {"name": "Nope", "arguments": {}}', *LS_CALL],
    ),
    "a call within other JSON": (f'{{"tools": [\n{LS}\n]}}', [f'text {{"tools": [\n{LS}\n]}}']),
    "a brace, then a call": (f"{{ <tool_call>{LS}</tool_call>", ["text {", *LS_CALL]),
    "broken JSON, then a call": (f'{{"a": <b>\n{LS}', ['text {"a": <b>', *LS_CALL]),
    "a bare name in prose": ('{"name": "Bash"}', ['text {"name": "Bash"}']),
    "a name of the wrong type": ('{"name": 5, "arguments": {}}', ['text {"name": 5, "arguments": {}}']),
    "arguments of the wrong type": ('{"name": "Bash", "arguments": [1]}', ['text {"name": "Bash", "arguments": [1]}']),
    "a number as arguments": ('{"name": "Bash", "arguments": 5}', ['text {"name": "Bash", "arguments": 5}']),
    "a string that is no object": ('{"name": "Bash", "arguments": "x"}', ['text {"name": "Bash", "arguments": "x"}']),
    "no colon": ('{"name" "Bash"}', ['text {"name" "Bash"}']),
    "no value": ('<tool_call>{"name"</tool_call>', ['text <tool_call>{"name"</tool_call>']),
    "a colon too few": ('{"name", "Bash"}', ['text {"name", "Bash"}']),
    "no comma": ('{"id": 1 "name": "Bash"}', ['text {"id": 1 "name": "Bash"}']),
    "three braces": ("{{{", ["text {{{"]),
    # Broken and cut calls: the wire needs one legal JSON object.
    "last brace missing": (LS[:-1], LS_CALL),
    "braces missing before the closer": (f"<tool_call>\n{LS[:-2]}\n</tool_call>", LS_CALL),
    "brackets missing": ('{"name": "Bash", "arguments": {"a": [1, 2</tool_call>', ["call Bash", 'args {"a":[1,2]}']),
    "cut in a string": (LS[:-5], ["call Bash", 'args {"command":"ls -"}']),
    "cut before a value": ('{"name": "Bash", "arguments": {"a": 1, "b":', ["call Bash", 'args {"a":1}']),
    "cut before the arguments": ('<tool_call>{"name": "Bash", "argu', ['text <tool_call>{"name": "Bash", "argu']),
    "cut after the name": ('<tool_call>{"name": "Bash",', ['text <tool_call>{"name": "Bash",']),
    "cut in late arguments": ('{"arguments": {"a": 1}, "na', ['text {"arguments": {"a": 1}, "na']),
    "cut with all there is": ('{"function": {"input": {"a": 1}, "name": "Bash"}', ["call Bash", 'args {"a":1}']),
    "a line break in a string": ('{"name": "Bash", "arguments": {"a": "x\ny"}}', ["call Bash", 'args {"a":"x\\ny"}']),
    "single quotes": ("{'name': 'Bash', 'arguments': {'a': 'it\\'s'}}", ["call Bash", 'args {"a":"it\'s"}']),
    "trailing commas": ('{"name": "Bash", "arguments": {"a": [1,],},}', ["call Bash", 'args {"a":[1]}']),
    "unescaped quotes": (
        '{"name": "Bash", "arguments": {"a": "say "hi" now"}}',
        ["call Bash", 'args {"a":"say \\"hi\\" now"}'],
    ),
    "nonsense after the arguments": (f"{LS[:-1]} and so on", [*LS_CALL, "text and so on"]),
    # DeepSeek.
    "deepseek v3": (V3, [*LS_CALL, *CAT_CALL]),
    "deepseek v3.1": (V31, [*LS_CALL, *CAT_CALL]),
    "deepseek with text": (f"Let me.\n\n{V31}", ["text Let me.", *LS_CALL, *CAT_CALL]),
    "deepseek, hermes inside": (deepseek(f"<|tool▁calls▁begin|>{LS}<|tool▁calls▁end|>"), LS_CALL),
    "deepseek, unknown name": (V31.replace("Bash", "Nope")[:60], [f"text {V31.replace('Bash', 'Nope')[:60]}"]),
    "deepseek, cut in the header": (V31[:45], [f"text {V31[:45]}"]),
    "deepseek, cut in the arguments": (
        V31[: V31.index(" -la")],
        ["call Bash", 'args {"command":"ls"}'],
    ),
    # Reasoning.
    "thinking": ("<think>\nHm.\n</think>\n\nYes.", ["think Hm.", "text Yes."]),
    "thinking, then a call": (f"<think>Hm.</think>\n<tool_call>{LS}</tool_call>", ["think Hm.", *LS_CALL]),
    "thinking, then a bare call": (f"<think>Hm.</think>{LS}", ["think Hm.", *LS_CALL]),
    "thinking twice": ("<think>a</think>\n<think>b</think>c", ["think ab", "text c"]),
    "empty thinking": ("<think>\n\n</think>\n\nYes.", ["text Yes."]),
    "thinking without end": ("<think>Hm, </thin", ["think Hm, </thin"]),
    "a call in thinking": (f"<think>{LS}</think>ok", [f"think {LS}", "text ok"]),
    "an end without thinking": ("</think>\n\nYes.", ["text Yes."]),
    "a think tag in prose": ("The <think> tag", ["text The <think> tag"]),
}


@pytest.mark.parametrize(("text", "expected"), GOLDENS.values(), ids=GOLDENS.keys())
def test_an_answer_means_what_the_golden_says(text: str, expected: list[str]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(("text", "expected"), GOLDENS.values(), ids=GOLDENS.keys())
def test_character_by_character_it_means_the_same(text: str, expected: list[str]) -> None:
    assert parse(list(text)) == parse(text)


FRAGMENTS = [
    *(
        "[TOOL_CALLS]",
        "<tool_call>",
        "</tool_call>",
        "<tools>",
        "```json\n",
        "```",
        "<think>",
        "</think>",
        "[",
        "]",
        ",",
        "{",
        "}",
    ),
    *(LS, CAT, LS[:-1], LS[20:], LS[:30], '{"name": "Nope", "arguments": {}}', "\n", " ", "text", '"', "'", "\\", ":"),
    *(V3, V31[:60], V31[40:], '"arguments": {', '{"name": "Bash",', '"a": [1, {"b": null'),
]


@st.composite
def cut_answers(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = "".join(draw(st.lists(st.sampled_from(FRAGMENTS), max_size=8)))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)))))
    return text, [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]


@given(answer=cut_answers(), parallel=st.booleans(), opens_thinking=st.booleans())
def test_the_meaning_does_not_depend_on_the_cut(
    answer: tuple[str, list[str]], *, parallel: bool, opens_thinking: bool
) -> None:
    text, pieces = answer
    request = make_request(choice=ToolChoice(parallel=parallel))
    whole = parse(text, open_parser(request, opens_thinking=opens_thinking))
    assert parse(pieces, open_parser(request, opens_thinking=opens_thinking)) == whole


@given(cut_answers())
def test_arguments_are_always_one_json_object(answer: tuple[str, list[str]]) -> None:
    """pensieve_core: all fragments of one call concatenate to one JSON object."""
    lines = parse(answer[1])
    calls = [position for position, line in enumerate(lines) if line.startswith("call ")]
    for position in calls:
        kind, arguments = lines[position + 1].split(" ", 1)
        assert kind == "args"
        assert isinstance(orjson.loads(arguments), dict)


@given(st.lists(st.sampled_from([*FRAGMENTS, "Bash", "<", "</"]), max_size=12).map("".join))
def test_without_tools_every_word_is_text(text: str) -> None:
    parser = open_parser(make_request(tools=()))
    said = "".join(line.split(" ", 1)[1] for line in parse(text, parser))
    without_reasoning = text.replace("<think>", "").replace("</think>", "")
    assert "".join(said.replace("<think>", "").replace("</think>", "").split()) == "".join(without_reasoning.split())
    assert not parser.called


@given(st.lists(st.sampled_from([*FRAGMENTS, "x"]), max_size=12).map("".join))
def test_calls_of_unknown_tools_are_text_unchanged(text: str) -> None:
    expected = parse(text, open_parser(make_request(tools=())))
    assert parse(text, open_parser(make_request(tools=("Other",)))) == expected


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    arguments=st.dictionaries(st.text(), json_values, max_size=4),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_any_arguments_come_through(arguments: dict[str, object], *, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps({"name": "Bash", "arguments": arguments}, ensure_ascii=ascii_only, indent=indent)
    lines = parse(f"<tool_call>\n{text}\n</tool_call>")
    assert lines[0] == "call Bash"
    assert len(lines) == 2
    assert json.loads(lines[1].removeprefix("args ")) == json.loads(json.dumps(arguments))


def test_arguments_stream_while_they_are_generated() -> None:
    parser = open_parser()
    parser.feed('<tool_call>\n{"name": "Bash", "arguments": ')
    assert spell(parser.feed('{"command": "ls')) == ["call Bash", 'args {"command":"ls']
    assert spell(parser.feed(" -l")) == ["args  -l"]
    assert spell(parser.feed('a"}')) == ['args a"}']


def test_text_streams_while_it_is_generated() -> None:
    parser = open_parser()
    assert [spell(parser.feed(piece)) for piece in ("Hel", "lo ", "you")] == [["text Hel"], ["text lo"], ["text  you"]]


def test_a_line_break_waits_only_where_a_call_may_follow() -> None:
    """It would be dropped before a call; without tools its reader would wait for two tokens instead of one."""
    assert spell(open_parser(make_request(tools=())).feed("One\n")) == ["text One\n"]
    assert spell(open_parser().feed("One\n")) == ["text One"]


def test_each_call_gets_a_fresh_id() -> None:
    events = open_parser().feed(f"{LS}\n{CAT}")
    assert [event.id for event in events if isinstance(event, ToolCallStarted)] == ["toolu_1", "toolu_2"]


def test_called_tells_whether_there_was_a_call() -> None:
    parser = open_parser()
    parser.feed('<tool_call>{"name": "Bash", "arguments":')
    assert not parser.called
    parser.feed("{")
    assert parser.called


def test_with_tool_choice_none_nothing_is_a_call() -> None:
    request = make_request(choice=ToolChoice(mode=ToolChoiceMode.NONE))
    assert parse(LS, open_parser(request)) == [f"text {LS}"]


@pytest.mark.parametrize("text", [f"{LS}\n{CAT} more", V31, f"<tools>{LS[:-1]}, and {CAT}"])
def test_without_parallel_calls_the_first_one_ends_the_answer(text: str) -> None:
    parser = open_parser(make_request(choice=ToolChoice(parallel=False)))
    assert parse(text, parser) == LS_CALL
    assert parser.done


def test_with_parallel_calls_it_is_never_done() -> None:
    parser = open_parser()
    parse(f"{LS}\n{CAT}", parser)
    assert not parser.done


def test_a_prompt_that_opened_thinking_begins_with_reasoning() -> None:
    assert parse("\nHm.\n</think>\n\nYes.", open_parser(opens_thinking=True)) == ["think Hm.", "text Yes."]


def test_a_template_names_further_reasoning_tags() -> None:
    """Seed-OSS, Magistral."""
    template = "… </seed:think> …"
    assert parse("<seed:think>Hm.</seed:think>Yes.", open_parser(template=template)) == ["think Hm.", "text Yes."]
    assert parse("[THINK]Hm.[/THINK]Yes.", open_parser(template=template)) == ["text [THINK]Hm.[/THINK]Yes."]
    assert parse("[THINK]Hm.[/THINK]Yes.", open_parser(template="[/THINK]")) == ["think Hm.", "text Yes."]


def test_a_continued_answer_keeps_its_white_space() -> None:
    request = make_request(last=(Role.ASSISTANT, "The answer is"))
    assert parse("\n 42", open_parser(request)) == ["text \n 42"]
    assert parse(" ", open_parser(request)) == ["text  "]


def test_a_continued_answer_is_not_at_the_start_of_a_line() -> None:
    request = make_request(last=(Role.ASSISTANT, "As JSON: "))
    assert parse(LS, open_parser(request)) == [f"text {LS}"]
    assert parse(f"\n{LS}", open_parser(request)) == LS_CALL


def test_a_header_without_end_is_given_up() -> None:
    text = deepseek("<|tool▁call▁begin|>") + "x" * 300 + '{"a": 1}'
    assert parse(text) == [f"text {text}"]


def test_a_request_without_turns_has_a_parser_too() -> None:
    request = GenerationRequest(id=RequestId("r"), model=ModelId("m"), turns=(), max_tokens=1)
    assert parse("\nok", open_parser(request)) == ["text ok"]

"""Whole conversations through the templates of all families: what must survive, and what must not move."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import attrs
import pytest

from pensieve_core import (
    GenerationRequest,
    JsonObject,
    ModelId,
    Origin,
    Part,
    RequestId,
    Role,
    TextPart,
    Thinking,
    ThinkingPart,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.parsers import Dialect, dialect_of, make_parser
from pensieve_gguf.templates import ChatTemplate, ToolsForm
from pensieve_protocol import parse_messages_request, to_generation_request

FAMILIES = {
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": Dialect.HERMES,
    "Qwen-Qwen2.5-7B-Instruct": Dialect.HERMES,
    "Qwen-Qwen3-0.6B": Dialect.HERMES,
    "Qwen3-Coder": Dialect.QWEN_CODER,
    "meta-llama-Llama-3.1-8B-Instruct": Dialect.LLAMA,
    "meta-llama-Llama-3.2-3B-Instruct": Dialect.LLAMA,
    "mistralai-Mistral-Nemo-Instruct-2407": Dialect.MISTRAL_LIST,
    "Mistral-Small-3.2-24B-Instruct-2506": Dialect.MISTRAL,
    "unsloth-mistral-Devstral-Small-2507": Dialect.MISTRAL,
    "mistralai-Ministral-3-14B-Reasoning-2512": Dialect.MISTRAL,
    "llama-cpp-deepseek-r1": Dialect.DEEPSEEK_V3,
    "deepseek-ai-DeepSeek-V3.1": Dialect.DEEPSEEK_V31,
    "openai-gpt-oss-120b": Dialect.HARMONY,
    "GLM-4.6": Dialect.GLM,
    "GLM-4.7-Flash": Dialect.GLM,
    "google-gemma-4-31B-it": Dialect.GEMMA,
    "google-gemma-2-2b-it": Dialect.HERMES,
    "moonshotai-Kimi-K2": Dialect.KIMI,
    "Kimi-K2-Instruct": Dialect.KIMI,
}

TOOLS_AS_TEXT = {
    "mistralai-Mistral-Nemo-Instruct-2407": "puts the tools before the last question, so each one would move them",
    "Mistral-Small-3.2-24B-Instruct-2506": "likewise",
    "deepseek-ai-DeepSeek-V3.1": "prints no tools",
    "google-gemma-2-2b-it": "knows no tools",
    "Kimi-K2-Instruct": "prints results in the order of its own counter",
}

MOVES = {
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "ends a result that is the last message with one line break less",
    "Qwen-Qwen3-0.6B": "opens an answer with an empty thought, which history does not have",
    "google-gemma-4-31B-it": "likewise",
    "llama-cpp-deepseek-r1": "opens an answer with a thought, which history does not have",
}
"""Whose history is not quite what was asked, and why. All of it lies behind the last message."""

every_family = pytest.mark.parametrize("name", FAMILIES)


def turn(role: Role, *parts: Part | str) -> Turn:
    return Turn(role=role, parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts))


def call(number: int, **arguments: object) -> ToolCallPart:
    return ToolCallPart(id=ToolCallId(f"toolu_{number}"), name="Edit", arguments=arguments)


def result(number: int) -> ToolResultPart:
    return ToolResultPart(call_id=ToolCallId(f"toolu_{number}"), content=(TextPart(text=f"Output {number}."),))


STRING: JsonObject = {"type": "string"}
EDIT = Tool(
    name="Edit",
    description="Edits a file.",
    parameters={
        "type": "object",
        "properties": {"file_path": STRING, "old": STRING, "new": STRING, "count": {"type": "integer"}},
        "required": ["file_path"],
    },
)
SESSION = GenerationRequest(
    id=RequestId("req_1"),
    model=ModelId("m"),
    turns=(
        turn(Role.SYSTEM, "You help."),
        turn(Role.USER, "Rename it."),
        turn(Role.SYSTEM, "The skills are these."),
        turn(
            Role.ASSISTANT,
            "Let me see.",
            call(1, file_path="/one", old="a", new='b "c"', count=3),
            call(2, file_path="/two"),
        ),
        turn(Role.USER, result(1), result(2), "Go on."),
        turn(Role.SYSTEM, "Be brief."),
        turn(Role.ASSISTANT, call(3, file_path="/three", old="x")),
        turn(Role.USER, result(3)),
        turn(Role.ASSISTANT, "Done."),
        turn(Role.USER, "Thanks."),
    ),
    tools=(EDIT,),
    max_tokens=10,
)


def with_reasoning(request: GenerationRequest) -> GenerationRequest:
    """Let each answer begin with a thought."""
    thought = ThinkingPart(text="I think so.")
    turns = (
        attrs.evolve(said, parts=(thought, *said.parts)) if said.role is Role.ASSISTANT else said
        for said in request.turns
    )
    return attrs.evolve(request, turns=tuple(turns), thinking=Thinking(enabled=True))


@pytest.fixture
def source(name: str, templates_folder: Path) -> str:
    return (templates_folder / f"{name}.jinja").read_text()


@pytest.fixture
def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>", today=lambda: dt.date(2026, 11, 22))


def prompts(template: ChatTemplate, request: GenerationRequest) -> list[str]:
    """The prompts of a conversation as it grows: one before each answer, and the last."""
    ends = [position for position, said in enumerate(request.turns) if said.role is Role.ASSISTANT]
    return [
        template.render(attrs.evolve(request, turns=request.turns[:end])).text for end in (*ends, len(request.turns))
    ]


@every_family
def test_a_template_tells_its_dialect(name: str, source: str) -> None:
    assert dialect_of(source) is FAMILIES[name]


@every_family
def test_a_template_that_we_can_read_renders_tools_itself(name: str, template: ChatTemplate) -> None:
    assert template.note == ""
    assert (template.form.tools is ToolsForm.HERMES) == (name in TOOLS_AS_TEXT)


@every_family
def test_names_arguments_results_and_order_survive(name: str, template: ChatTemplate) -> None:
    prompt = template.render(SESSION)
    assert prompt.in_form
    position = 0
    for piece in ("You help.", "Rename it.", "The skills are these.", "Let me see.", "/one", "Output 1.", "Output 2."):
        position = prompt.text.index(piece, position)
    for piece in ("Go on.", "Be brief.", "/three", "Output 3.", "Done.", "Thanks."):
        position = prompt.text.index(piece, position)
    assert "Edits a file." in prompt.text


@every_family
def test_our_parser_reads_the_calls_of_history_back(name: str, template: ChatTemplate) -> None:
    """A model answers as it was shown."""
    text = template.render(SESSION).text
    first = text[text.index("Let me see.") : text.index("Go on.")]
    second = text[text.index("Be brief.") : text.index("Done.")]
    found = [*read_calls(template.source, first), *read_calls(template.source, second)]
    assert found == [
        {"file_path": "/one", "old": "a", "new": 'b "c"', "count": 3},
        {"file_path": "/two"},
        {"file_path": "/three", "old": "x"},
    ]


def read_calls(source: str, text: str) -> list[object]:
    """The arguments of the calls in `text`, all of which are of the one tool."""
    parser = make_parser(source, SESSION, opens_thinking=False, new_call_id=lambda: ToolCallId("read"))
    calls = ""
    for event in (*parser.feed(text), *parser.finish()):
        if isinstance(event, ToolCallStarted):
            calls += "\n"
        elif isinstance(event, ToolCallArguments):
            calls += event.fragment
    return [json.loads(line) for line in calls.splitlines() if line]


@every_family
def test_history_stays_as_it_was_when_the_conversation_grows(name: str, template: ChatTemplate) -> None:
    *earlier, whole = prompts(template, SESSION)
    assert all(whole.startswith(prompt) for prompt in earlier) == (name not in MOVES)


@every_family
def test_all_up_to_the_last_message_stays_in_any_case(name: str, template: ChatTemplate) -> None:
    *earlier, whole = prompts(template, SESSION)
    for prompt, last in zip(earlier, ("The skills are these.", "Be brief.", "Output 3."), strict=True):
        assert whole.startswith(prompt[: prompt.rindex(last) + len(last)])


@every_family
def test_reasoning_leaves_everything_else_alone(name: str, template: ChatTemplate) -> None:
    prompt = template.render(with_reasoning(SESSION))
    assert prompt.in_form
    for piece in ("Let me see.", "/one", "Output 1.", "/three", "Output 3.", "Done.", "Thanks."):
        assert piece in prompt.text


# -- the head ------------------------------------------------------------------------------------------------------


def claude_code_request(*, digits: str = "d7d", day: str = "2026-11-22", **fields: object) -> GenerationRequest:
    """What Claude Code sends, as the engine is asked: what changes between sessions are hex digits and a day."""
    text = {"type": "text"}
    mark = {"cache_control": {"type": "ephemeral"}}
    billing = f"x-anthropic-billing-header: cc_version=2.1.330.{digits}; cc_entrypoint=cli;"
    wire = {
        "model": "m",
        "max_tokens": 100,
        "system": [
            {**text, "text": billing},
            {**text, **mark, "text": "You are a CLI."},
            {**text, "text": "Be exact."},
        ],
        "tools": [{"name": "Edit", "description": "Edits a file.", "input_schema": EDIT.parameters}],
        "messages": [
            {"role": "user", "content": f"<system-reminder>Today's date is {day}.</system-reminder>\n\nHello."},
            {"role": "system", "content": "The skills are these."},
        ],
        **fields,
    }
    parsed = parse_messages_request(json.dumps(wire).encode())
    return to_generation_request(parsed, request_id=RequestId("req_1"), model=ModelId("m"), origin=Origin())


@every_family
def test_the_billing_block_leaves_no_trace_whatever_its_digits(name: str, template: ChatTemplate) -> None:
    one, other = (template.render(claude_code_request(digits=digits)).text for digits in ("d7d", "0a1"))
    assert one == other
    assert "x-anthropic" not in one
    assert "cc_version" not in one


@every_family
def test_another_day_in_the_first_message_leaves_the_head_as_it_was(name: str, template: ChatTemplate) -> None:
    one, other = (template.render(claude_code_request(day=day)).text for day in ("2026-11-22", "2026-12-03"))
    differs = next(position for position, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    shared = one[:differs]
    assert "Be exact." in shared
    assert "Edits a file." in shared
    assert shared.endswith("Today's date is 2026-1")


@every_family
def test_the_next_morning_the_template_says_the_same(name: str, source: str) -> None:
    """A template that writes the day into its head would have 24,000 tokens computed anew every day."""
    day = dt.date(2026, 11, 22)
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>", today=lambda: day)
    before = template.render(SESSION).text
    day = dt.date(2026, 11, 23)
    assert template.render(SESSION).text == before


@every_family
def test_tools_in_another_order_of_keys_are_the_same_text(name: str, template: ChatTemplate) -> None:
    properties = EDIT.parameters["properties"]
    assert isinstance(properties, dict)
    shuffled = {
        "required": ["file_path"],
        "properties": {key: properties[key] for key in reversed(properties)},
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
    }
    other = attrs.evolve(SESSION, tools=(attrs.evolve(EDIT, parameters=shuffled),))
    assert template.render(other).text == template.render(SESSION).text


def unmarked(part: Part) -> Part:
    return part if part.type == "thinking" else attrs.evolve(part, cache_mark=False)


@every_family
def test_cache_marks_are_nowhere_in_the_text_and_tell_where_the_head_ends(name: str, template: ChatTemplate) -> None:
    marked = claude_code_request()
    turns = (attrs.evolve(said, parts=tuple(unmarked(part) for part in said.parts)) for said in marked.turns)
    with_marks, without = template.render(marked), template.render(attrs.evolve(marked, turns=tuple(turns)))
    assert with_marks.text == without.text
    assert without.head == 0
    assert "You are a CLI." in with_marks.text[: with_marks.head]
    assert "Hello." not in with_marks.text[: with_marks.head]

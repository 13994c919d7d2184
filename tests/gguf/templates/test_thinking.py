"""Ours: what templates are told about reasoning. The fragments are those of the families' templates."""

from __future__ import annotations

import datetime as dt

import pytest

from pensieve_core import Effort, GenerationRequest, ModelId, RequestId, Role, TextPart, Thinking, Turn
from pensieve_gguf.templates import ChatTemplate
from pensieve_gguf.templates._thinking import thinking_variables, thinking_words

OFF = Thinking()
ON = Thinking(enabled=True)

QWEN = "{%- if enable_thinking is defined and enable_thinking is false %}"
DEEPSEEK = "{%- if not thinking is defined -%}{%- set thinking = false -%}"
GPT_OSS = '{%- set reasoning_effort = "medium" %}{{- "Reasoning: " + reasoning_effort }}'
HUNYUAN = "{%- elif reasoning_effort not in ['high', 'low', 'no_think'] %}"
DEEPSEEK_V4 = "{%- if thinking and reasoning_effort is defined and reasoning_effort == 'max' -%}"
SEED = "{%- if not thinking_budget is defined %}"
MINIMAX = "{%- if thinking_mode == 'enabled' -%}"
NEMOTRON = "{%- set ns = namespace(enable_thinking=true) -%}{%- elif '/no_think' in content -%}{{ ns.enable_thinking }}"


def with_effort(effort: Effort) -> Thinking:
    return Thinking(enabled=True, effort=effort)


@pytest.mark.parametrize(
    ("source", "thinking", "expected"),
    [
        ("", ON, {}),
        (QWEN, ON, {"enable_thinking": True, "thinking": True}),
        (QWEN, OFF, {"enable_thinking": False, "thinking": False}),
        (DEEPSEEK, ON, {"thinking": True}),
        (DEEPSEEK, OFF, {"thinking": False}),
        (GPT_OSS, OFF, {"reasoning_effort": "low"}),
        (GPT_OSS, ON, {}),
        (GPT_OSS, with_effort(Effort.LOW), {"reasoning_effort": "low"}),
        (GPT_OSS, with_effort(Effort.MEDIUM), {"reasoning_effort": "medium"}),
        (GPT_OSS, with_effort(Effort.XHIGH), {"reasoning_effort": "high"}),
        (HUNYUAN, OFF, {"reasoning_effort": "no_think"}),
        (HUNYUAN, ON, {"reasoning_effort": "high"}),
        (HUNYUAN, with_effort(Effort.MEDIUM), {"reasoning_effort": "high"}),
        (DEEPSEEK_V4, with_effort(Effort.MAX), {"thinking": True, "reasoning_effort": "max"}),
        (SEED, OFF, {"thinking_budget": 0}),
        (SEED, ON, {}),
        (SEED, Thinking(enabled=True, budget_tokens=512), {"thinking_budget": 512}),
        (MINIMAX, ON, {"thinking_mode": "enabled"}),
        (MINIMAX, OFF, {"thinking_mode": "disabled"}),
    ],
)
def test_a_wish_in_the_terms_of_a_template(source: str, thinking: Thinking, expected: dict[str, object]) -> None:
    # "thinking" is part of the name of other variables: those that read none of it do not mind.
    given = thinking_variables(source, thinking)
    assert {name: given[name] for name in expected} == expected
    assert given.keys() - expected.keys() <= {"thinking"}


def test_some_templates_look_for_words() -> None:
    """Nemotron Nano v2 reads the system text; SmolLM3 has a variable besides."""
    assert (thinking_words(NEMOTRON, ON), thinking_words(NEMOTRON, OFF)) == ("/think", "/no_think")
    assert thinking_words(f"{QWEN} '/no_think'", OFF) == ""
    assert thinking_words(QWEN, OFF) == ""


def render(*turns: Turn) -> str:
    template = ChatTemplate(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{# /no_think #}",
        bos_token="",
        eos_token="",
        today=lambda: dt.date(2026, 11, 22),
    )
    request = GenerationRequest(id=RequestId("r"), model=ModelId("m"), turns=turns, max_tokens=1)
    return template.render(request).text


def test_the_words_end_the_leading_system_text() -> None:
    user = Turn(role=Role.USER, parts=(TextPart(text="Q"),))
    system = Turn(role=Role.SYSTEM, parts=(TextPart(text="Help."),))
    assert render(system, user) == "[system]Help.\n/no_think[user]Q"
    assert render(user) == "[system]/no_think[user]Q"

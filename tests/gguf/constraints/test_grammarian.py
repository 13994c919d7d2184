"""Ours: from requests to constraints, with a vocabulary of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from llguidance import LLTokenizer
from structlog.testing import capture_logs

from pensieve_core import (
    GenerationRequest,
    Role,
    TextPart,
    Thinking,
    Tool,
    ToolCallId,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.constraints import HEADER, MARKED_HEADER, Grammarian, Plan, Vocabulary
from pensieve_gguf.constraints import _grammarian as grammarian_module
from pensieve_gguf.parsers import QWEN_TAGS

Ask = Callable[..., Plan | None]
MakeRequest = Callable[..., GenerationRequest]

PATH = {"type": "object", "properties": {"path": {"type": "string"}, "all": {"type": "boolean"}}, "required": ["path"]}
LS = Tool(name="ls", parameters=PATH)
PWD = Tool(name="pwd", parameters={"type": "object"})
ANY = ToolChoice(mode=ToolChoiceMode.ANY)


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture
def grammarian(vocabulary: Vocabulary) -> Grammarian:
    return Grammarian(lambda: vocabulary, "", renders_tools=True)


@pytest.fixture
def ask(grammarian: Grammarian, make_request: MakeRequest) -> Ask:
    def ask(*, opens_thinking: bool = False, **knobs: Any) -> Plan | None:
        return grammarian.plan(make_request(**knobs), opens_thinking=opens_thinking)

    return ask


def whole(plan: Plan | None, text: str) -> bool:
    assert plan is not None
    assert plan.whole is not None
    begun = plan.whole.begun(text)
    return begun is not None and begun.satisfied


def called(plan: Plan | None, name: str, text: str) -> bool:
    assert plan is not None
    begun = plan.calls[name].begun(text)
    return begun is not None and begun.satisfied


# -- what is constrained -------------------------------------------------------------------------------------------


def test_a_plain_request_needs_no_vocabulary(make_request: MakeRequest) -> None:
    """Reading one takes a second."""

    def make_vocabulary() -> Vocabulary:
        raise AssertionError

    grammarian = Grammarian(make_vocabulary, "", renders_tools=True)
    assert grammarian.plan(make_request()) is None
    none = ToolChoice(mode=ToolChoiceMode.NONE)
    assert grammarian.plan(make_request(tools=(LS,), tool_choice=none)) is None


def test_only_demands_on_the_first_token_wait_for_the_vocabulary(
    vocabulary: Vocabulary, make_request: MakeRequest
) -> None:
    """After a restart a known head is there sooner: a call takes its constraint up when it begins."""
    made: list[Vocabulary] = []

    def make_vocabulary() -> Vocabulary:
        made.append(vocabulary)
        return vocabulary

    grammarian = Grammarian(make_vocabulary, "", renders_tools=True, ready=lambda: bool(made))
    plan = grammarian.plan(make_request(tools=(LS,)))
    assert plan is not None
    assert not made
    assert not plan.calls
    grammarian.get_ready()
    assert called(plan, "ls", '{"path": "/"}')
    assert plan.calls[HEADER].begun('{"name": "rm"') is None
    made.clear()
    assert whole(grammarian.plan(make_request(tools=(LS,), tool_choice=ANY)), call("ls", '{"path": "/"}'))


def test_any_demands_a_call_of_some_tool(ask: Ask) -> None:
    plan = ask(tools=(LS, PWD), tool_choice=ANY)
    assert whole(plan, call("ls", '{"path": "/"}'))
    assert whole(plan, call("pwd", "{}") + "\n" + call("ls", '{"path": "/", "all": true}'))
    assert not whole(plan, call("ls", '{"path": "/", "depth": 1}')), "small models borrow arguments of other tools"
    assert not whole(plan, "Hello.")


def test_any_without_parallel_calls_demands_one(ask: Ask) -> None:
    plan = ask(tools=(PWD,), tool_choice=ToolChoice(mode=ToolChoiceMode.ANY, parallel=False))
    assert whole(plan, call("pwd", "{}"))
    assert not whole(plan, call("pwd", "{}") + "\n" + call("pwd", "{}"))


def test_a_tool_that_is_demanded_is_the_only_one(ask: Ask) -> None:
    plan = ask(tools=(LS, PWD), tool_choice=ToolChoice(mode=ToolChoiceMode.TOOL, name="pwd"))
    assert whole(plan, call("pwd", "{}"))
    assert not whole(plan, call("ls", '{"path": "/"}'))


def test_a_demand_for_a_tool_that_there_is_not_is_none(ask: Ask) -> None:
    assert ask(tools=(LS,), tool_choice=ToolChoice(mode=ToolChoiceMode.TOOL, name="rm")) is None
    assert ask(tool_choice=ANY) is None


def test_a_deferred_tool_can_be_demanded_once_the_model_was_told_of_it(ask: Ask) -> None:
    later = Tool(name="later", parameters={}, deferred=True)
    tools = (PWD, later)
    assert not whole(ask(tools=tools, tool_choice=ANY), call("later", "{}"))
    reference = ToolReferencePart(name="later")
    result = ToolResultPart(call_id=ToolCallId("toolu_1"), content=(reference,))
    for part in (reference, result):
        told = (Turn(role=Role.USER, parts=(part,)),)
        assert whole(ask(tools=tools, tool_choice=ANY, turns=told), call("later", "{}"))


def test_an_output_schema_demands_json(ask: Ask) -> None:
    plan = ask(output_schema=PATH)
    assert whole(plan, '{"path": "/"}')
    assert not whole(plan, "Sure!")


def test_where_there_are_tools_a_call_may_stand_for_the_json(ask: Ask) -> None:
    plan = ask(output_schema=PATH, tools=(PWD,))
    assert whole(plan, '{"path": "/"}')
    assert whole(plan, call("pwd", "{}"))
    assert not whole(ask(output_schema=PATH, tools=(PWD,), tool_choice=ANY), '{"path": "/"}')
    none = ToolChoice(mode=ToolChoiceMode.NONE)
    assert not whole(ask(output_schema=PATH, tools=(PWD,), tool_choice=none), call("pwd", "{}"))


def test_calls_begun_unasked_have_a_constraint_each(ask: Ask) -> None:
    plan = ask(tools=(LS, PWD))
    assert plan is not None
    assert plan.whole is None
    assert called(plan, "ls", '{"all":true,"path":"/","other":1}')
    assert not called(plan, "ls", '{"path":1}')
    assert called(plan, "pwd", "{}")
    assert plan.calls[HEADER].begun('{"name": "pwd"') is not None
    assert plan.calls[HEADER].begun('{"name": "rm"') is None


def test_the_first_request_with_new_tools_does_not_wait_for_their_grammars_unless_one_is_strict(
    vocabulary: Vocabulary, make_request: MakeRequest
) -> None:
    later: list[Callable[[], None]] = []
    grammarian = Grammarian(lambda: vocabulary, "", renders_tools=True, soon=later.append)
    first = grammarian.plan(make_request(tools=(LS,)))
    assert first is not None
    assert not first.calls
    later.pop()()
    assert LS.name in first.calls
    again = grammarian.plan(make_request(tools=(LS,)))
    assert again is not None
    assert LS.name in again.calls
    strict = grammarian.plan(make_request(tools=(attrs.evolve(LS, strict=True),)))
    assert strict is not None
    assert LS.name in strict.calls
    assert later == []


def test_calls_in_other_forms_have_constraints_that_are_made_when_such_a_call_begins(
    vocabulary: Vocabulary, make_request: MakeRequest
) -> None:
    later: list[Callable[[], None]] = []
    grammarian = Grammarian(lambda: vocabulary, "", renders_tools=True, soon=later.append)
    plan = grammarian.plan(make_request(tools=(LS,)))
    assert plan is not None
    later.pop()()
    assert plan.foreign("rm", QWEN_TAGS) is None
    assert plan.foreign("ls", QWEN_TAGS) is None
    assert plan.foreign("ls", QWEN_TAGS) is None
    (make,) = later
    make()
    foreign = plan.foreign("ls", QWEN_TAGS)
    assert foreign is not None
    for text, admitted in (
        ("<parameter=path>\n/\n</parameter>\n</function>", True),
        ('\n{"path": "/"}', True),
        ("<parameter=all>\n1\n</parameter>", False),
        ("</function>", False),
        ('{"path": 1', False),
    ):
        begun = foreign.begun(text)
        assert (begun is not None and begun.satisfied) == admitted


def test_a_call_that_is_demanded_in_the_middle_begins_with_its_mark(ask: Ask) -> None:
    plan = ask(tools=(LS,))
    assert plan is not None
    header = plan.calls[MARKED_HEADER]
    assert header.begun('<tool_call>\n{"name": "ls", "arguments": {') is not None
    for text in ('{"name"', "Hello", '<tool_call>\n{"name": "rm"'):
        assert header.begun(text) is None


def test_strict_tools_are_held_to_all_of_their_schema(ask: Ask) -> None:
    strict = Tool(name="ls", parameters={**PATH, "additionalProperties": False}, strict=True)
    plan = ask(tools=(strict,))
    assert called(plan, "ls", '{"path":"/","all":true}')
    for arguments in ('{"all":true}', '{"path":"/","other":1}', '{"path":"/","path":"/"}'):
        assert not called(plan, "ls", arguments)


@pytest.mark.parametrize(
    "parameters", [{}, {"type": "string"}, {"$ref": "#/nowhere"}, {"enum": [1]}, {"type": "array"}]
)
def test_arguments_are_an_object_whatever_the_schema_says(ask: Ask, parameters: Any) -> None:
    plan = ask(tools=(Tool(name="t", parameters=parameters),))
    assert called(plan, "t", '{"a":1}')
    assert not called(plan, "t", "1")


# -- where the answer begins ---------------------------------------------------------------------------------------


def test_an_answer_that_is_begun_is_constrained_from_there(ask: Ask) -> None:
    begun = (Turn(role=Role.ASSISTANT, parts=(TextPart(text='{"path": '),)),)
    assert whole(ask(output_schema=PATH, turns=begun), '"/"}')
    for parts in ((), (ToolReferencePart(name="x"),)):
        assert whole(ask(output_schema=PATH, turns=(Turn(role=Role.ASSISTANT, parts=parts),)), '{"path": "/"}')
    assert whole(ask(output_schema=PATH, turns=()), '{"path": "/"}')


def test_an_answer_that_was_begun_with_other_words_is_not_constrained(ask: Ask) -> None:
    begun = (Turn(role=Role.ASSISTANT, parts=(TextPart(text="Sure: "),)),)
    assert ask(output_schema=PATH, turns=begun) is None
    assert whole(ask(tools=(PWD,), tool_choice=ANY, turns=begun), call("pwd", "{}"))


def test_reasoning_comes_first_where_the_prompt_opens_it(ask: Ask) -> None:
    plan = ask(output_schema=PATH, opens_thinking=True)
    assert plan is not None
    assert plan.opens_thinking


def test_an_answer_may_reason_first_if_that_is_asked_for_and_there_is_a_token(make_request: MakeRequest) -> None:
    class Tagged(Vocabulary):
        def special(self, text: str) -> int | None:
            return {"<think>": 7}.get(text)

    grammarian = Grammarian(lambda: Tagged(LLTokenizer("byte"), {261}), "[THINK][/THINK]", renders_tools=True)
    for thinking, tokens in ((Thinking(enabled=True), {7}), (Thinking(), set())):
        plan = grammarian.plan(make_request(output_schema=PATH, thinking=thinking))
        assert plan is not None
        assert plan.think_tokens == tokens


# -- nonsense ------------------------------------------------------------------------------------------------------


def test_a_schema_is_mended_and_that_is_said_once(ask: Ask) -> None:
    tool = Tool(name="get", parameters={"properties": {"url": {"type": "string", "format": "odd"}}})
    with capture_logs() as logs:
        assert called(ask(tools=(tool,)), "get", '{"url":"x"}')
        assert not called(ask(tools=(tool,)), "get", '{"url":1}')
    assert logs == [
        {"event": "schema_mended", "log_level": "warning", "of": "get", "dropped": ("/properties/url/format",)}
    ]


def test_a_grammar_that_is_too_much_gives_way_to_a_plainer_one(ask: Ask) -> None:
    """A reference to a sibling is sound in the whole schema, and nowhere in a member's alone."""
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"$ref": "#/properties/a"}}}
    with capture_logs() as logs:
        plan = ask(tools=(Tool(name="t", parameters=schema),))
    assert called(plan, "t", '{"a":1,"b":2}')
    assert not called(plan, "t", '{"a":1,"b":3}')
    assert [(log["event"], log["of"]) for log in logs] == [("grammar_refused", "t")]


def test_what_is_only_nearly_kept_is_said(ask: Ask) -> None:
    """`oneOf` is read as `anyOf`."""
    branches = [{"type": "object", "properties": {name: {"type": "integer"}}} for name in "ab"]
    with capture_logs() as logs:
        assert whole(ask(output_schema={"oneOf": branches}), '{"a": 1}')
    assert [log["event"] for log in logs] == ["grammar_approximate"]


def test_a_schema_with_faults_without_end_asks_for_an_object(ask: Ask) -> None:
    odd = {"properties": {str(number): {"format": "odd"} for number in range(400)}}
    plan = ask(tools=(Tool(name="t", parameters=odd),))
    assert called(plan, "t", '{"1":1}')
    assert not called(plan, "t", "1")


def test_what_cannot_be_compiled_at_all_is_not_constrained(vocabulary: Vocabulary, make_request: MakeRequest) -> None:
    class Unwilling(Vocabulary):
        def compile(self, grammar: str) -> Any:
            return super().compile("start: nowhere")

    grammarian = Grammarian(lambda: Unwilling(vocabulary._tokenizer, {261}), "", renders_tools=True)
    with capture_logs() as logs:
        plan = grammarian.plan(make_request(tools=(LS,)))
        assert plan is None or not plan.calls
        assert grammarian.plan(make_request(tools=(LS,))) is None
        assert grammarian.plan(make_request(tools=(LS,), tool_choice=ANY)) is None
    assert {log["event"] for log in logs} == {"grammar_refused"}


def test_only_so_much_is_remembered(vocabulary: Vocabulary, make_request: MakeRequest) -> None:
    grammarian = Grammarian(lambda: vocabulary, "", renders_tools=True)
    for number in range(grammarian_module._KEPT + 10):
        grammarian.plan(make_request(output_schema={"const": number}))
    assert len(grammarian._schemas) == len(grammarian._constraints) == grammarian_module._KEPT


def test_what_was_compiled_once_is_not_compiled_again(make_request: MakeRequest, vocabulary: Vocabulary) -> None:
    compiled: list[str] = []

    class Counting(Vocabulary):
        def compile(self, grammar: str) -> Any:
            compiled.append(grammar)
            return super().compile(grammar)

    grammarian = Grammarian(lambda: Counting(vocabulary._tokenizer, {261}), "", renders_tools=True)
    for _ in range(3):
        assert grammarian.plan(make_request(tools=(LS, PWD))) is not None
    assert len(compiled) == 4, "a header with its mark and without, and arguments of two tools"

"""Ours: what the grammars admit, character by character, and what they refuse."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.constraints import Constraint, Vocabulary
from pensieve_gguf.constraints._dialects import HERMES, Spelling, spelling_of
from pensieve_gguf.constraints._grammars import (
    CallableTool,
    answers,
    closed,
    document,
    headers,
    loose_arguments,
    strict_arguments,
    tagged_arguments,
)

LS = {"type": "object", "properties": {"path": {"type": "string"}, "all": {"type": "boolean"}}, "required": ["path"]}
CALL = '<tool_call>\n{"name": "ls", "arguments": {"path": "/"}}\n</tool_call>'

Compile = Callable[[str], Constraint]


@pytest.fixture
def compiled(vocabulary: Vocabulary) -> Compile:
    def compiled(grammar: str) -> Constraint:
        assert vocabulary.fault(grammar) == ""
        return vocabulary.compile(grammar)

    return compiled


def whole(constraint: Constraint, text: str) -> bool:
    begun = constraint.begun(text)
    return begun is not None and begun.satisfied


def answer(**knobs: Any) -> str:
    plain: dict[str, Any] = {"schema": None, "tools": (), "spelling": HERMES, "parallel": True}
    return answers(**{**plain, "special": lambda _: None, **knobs})


# -- answers -------------------------------------------------------------------------------------------------------


def test_json_is_written_on_one_line(compiled: Compile) -> None:
    constraint = compiled(document({"type": "object", "properties": {"a": {"type": "array"}}}))
    assert whole(constraint, '{"a": [1, 2]}')
    assert not whole(constraint, '{"a":[1,2]}')
    assert not whole(constraint, '{\n"a": [1, 2]\n}')


def test_an_answer_is_that_json_and_nothing_else(compiled: Compile) -> None:
    constraint = compiled(answer(schema=LS))
    assert whole(constraint, '{"path": "/", "all": true}')
    assert whole(constraint, '\n\n{"path": "/"}')
    for text in ('{"path": "/"}\n', '{"path": 1}', "{}", "Sure: {", CALL, "true"):
        assert not whole(constraint, text), text


TOOLS = (CallableTool(name="ls", schema=LS), CallableTool(name="pwd", schema={"type": "object", "maxProperties": 0}))
PWD = CALL.replace("ls", "pwd").replace('{"path": "/"}', "{}")


def test_calls_are_whole_and_of_tools_that_there_are(compiled: Compile) -> None:
    constraint = compiled(answer(tools=TOOLS))
    for text in (CALL, PWD, f"{CALL}\n{PWD}\n{CALL}", f"{CALL}\n"):
        assert whole(constraint, text), text
    for text in (CALL.replace("ls", "rm"), CALL.replace("path", "way"), CALL[:-1], f"{CALL}\nDone.", "Done."):
        assert not whole(constraint, text), text


def test_one_call_is_one_call(compiled: Compile) -> None:
    constraint = compiled(answer(tools=TOOLS, parallel=False)).begun(CALL)
    assert constraint is not None
    assert constraint.satisfied
    assert constraint.ended


def test_json_may_stand_where_calls_may(compiled: Compile) -> None:
    constraint = compiled(answer(tools=TOOLS, schema={"enum": ["done"]}))
    assert whole(constraint, CALL)
    assert whole(constraint, '"done"')


def test_a_name_that_needs_escapes_is_spelled_as_json(compiled: Compile) -> None:
    constraint = compiled(answer(tools=(CallableTool(name='say "é"', schema={}),)))
    assert whole(constraint, '<tool_call>\n{"name": "say \\"é\\"", "arguments": []}\n</tool_call>')


def test_special_tokens_stand_for_their_texts() -> None:
    """A model that has a token for `<tool_call>` never spells it out."""
    tokens = {"<tool_call>": 7, "</tool_call>": 8}
    grammar = answer(tools=TOOLS, special=tokens.get)
    assert "<[7]>" in grammar
    assert "<[8]>" in grammar
    assert "tool_call" not in grammar


def test_deepseek_writes_a_name_that_is_no_json(compiled: Compile) -> None:
    d = spelling_of("<\uff5ctool▁calls▁begin\uff5c> ```json", renders_tools=True)
    constraint = compiled(answer(tools=TOOLS, spelling=d))
    call = f'{d.mark}{d.before}ls{d.middle}{{"path": "/"}}{d.after}'
    assert whole(constraint, f"{d.begin}{call}\n{call}{d.end}")
    assert not whole(constraint, f"{d.begin}{call}\n{call}")


HARMONY = spelling_of("<|channel|> <|message|>", renders_tools=True)
HARMONY_CALL = '<|channel|>commentary to=functions.ls <|constrain|>json<|message|>{"path": "/"}'
THOUGHT = "<|channel|>analysis<|message|>Well, < and |.<|end|><|start|>assistant"


def test_harmony_names_the_recipient(compiled: Compile) -> None:
    constraint = compiled(answer(tools=TOOLS, spelling=HARMONY))
    assert whole(constraint, HARMONY_CALL)
    assert not whole(constraint, HARMONY_CALL.replace("ls", "rm"))
    assert constraint.begun(THOUGHT[:-1]) is None


def test_harmony_may_think_in_a_message_before(compiled: Compile) -> None:
    constraint = compiled(answer(tools=TOOLS, schema={"enum": ["done"]}, spelling=HARMONY, may_think=True))
    for text in (HARMONY_CALL, f"{THOUGHT}{HARMONY_CALL}", f'{THOUGHT}<|channel|>final<|message|>"done"'):
        assert whole(constraint, text), text
    for text in (THOUGHT, '"done"', f'{THOUGHT}"done"'):
        assert not whole(constraint, text), text


def test_the_end_of_a_thought_is_its_token_where_there_is_one() -> None:
    grammar = answer(tools=TOOLS, spelling=HARMONY, may_think=True, special={"<|end|>": 9}.get)
    assert "thought: /(?s:.*)/ <[9]>" in grammar


# -- calls that were begun unasked -------------------------------------------------------------------------------


def test_a_header_names_a_tool_that_there_is(compiled: Compile) -> None:
    constraint = compiled(headers(["ls", 'say "é"'], HERMES, lambda _: None))
    for text in ('{"name": "ls", "arguments": {', '{\n  "name" : "say \\"é\\"","arguments":{"a": 1}}\n</tool_call>'):
        assert whole(constraint, text), text
    for text in ('{"name": "rm', '{"nome', "{{", '{"name": "ls" "', '{"arguments"', '{"name": "ls", "arguments": "{'):
        assert constraint.begun(text) is None, text
    assert not whole(constraint, '{"name": "ls", "arguments": ')


def test_a_header_without_braces_is_a_name_and_what_leads_to_the_arguments(compiled: Compile) -> None:
    """Kimi numbers its calls."""
    kimi = spelling_of("<|tool_call_begin|>", renders_tools=True)
    constraint = compiled(headers(["ls", "pwd"], kimi, lambda _: None))
    for text in (
        "functions.ls:0<|tool_call_argument_begin|>{",
        'functions.pwd:12<|tool_call_argument_begin|>{"a": 1}x',
    ):
        assert whole(constraint, text), text
    for text in ("functions.rm", "ls", "functions.ls<", "functions.ls:x", "functions.ls:0{"):
        assert constraint.begun(text) is None, text


def test_a_header_in_braces_has_the_keys_of_its_dialect(compiled: Compile) -> None:
    """Llama says "parameters"."""
    llama = spelling_of("<|start_header_id|> '\"parameters\": '", renders_tools=True)
    constraint = compiled(headers(["ls"], llama, lambda _: None))
    assert whole(constraint, '{"name": "ls", "parameters": {')
    assert constraint.begun('{"name": "ls", "arg') is None


# -- arguments that were begun unasked ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [strict_arguments, loose_arguments], ids=["strict", "loose"])
def test_arguments_keep_the_models_layout_within_bounds(compiled: Compile, make: Callable[[Any], str]) -> None:
    constraint = compiled(make(LS))
    for text in ('{"path":"/"}', '{ "path" : "/" }', '{\r\n    "path": "/",\n\t"all": true\n}', r'{"path": "\u00e9"}'):
        assert whole(constraint, text), text
    for text in ('{\n\n\n"path":"/"}', '{"path":' + 50 * " " + '"/"}', '{"path": "a\nb"}', '{"path": 1}', "{}"):
        assert not whole(constraint, text), text


@pytest.mark.parametrize("make", [strict_arguments, loose_arguments], ids=["strict", "loose"])
def test_after_the_arguments_anything_may_come(compiled: Compile, make: Callable[[Any], str]) -> None:
    """One token may hold the end of the arguments and what follows them."""
    assert whole(compiled(make(LS)), '{"path": "/"}}\n</tool_call>\nDone.')


def test_the_members_of_loose_arguments_come_in_any_order(compiled: Compile) -> None:
    constraint = compiled(loose_arguments(LS))
    assert whole(constraint, '{"all": true, "path": "/"}')
    assert not whole(compiled(strict_arguments(LS)), '{"all": true, "path": "/"}')


def test_a_name_that_the_schema_does_not_know_is_admitted_unless_it_is_refused(compiled: Compile) -> None:
    assert whole(compiled(loose_arguments(LS)), '{"path": "/", "depth": [1]}')
    for name in ("pathway", "pat", "paths", "ALL"):
        assert whole(compiled(loose_arguments(LS)), f'{{"path": "/", "{name}": 1}}'), name
    assert not whole(compiled(loose_arguments({**LS, "additionalProperties": False})), '{"path": "/", "depth": [1]}')
    numbers = compiled(loose_arguments({**LS, "additionalProperties": {"type": "integer"}}))
    assert whole(numbers, '{"path": "/", "depth": 1}')
    assert not whole(numbers, '{"path": "/", "depth": [1]}')


def test_members_may_refer_to_definitions(compiled: Compile) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"enum": [1, 2]}}}
    constraint = compiled(loose_arguments(schema))
    assert whole(constraint, '{"a": 2}')
    assert not whole(constraint, '{"a": 3}')


def test_nothing_is_known_of_an_object_without_properties(compiled: Compile) -> None:
    for schema in (True, {"type": "object"}, {"type": "object", "properties": {}}):
        constraint = compiled(loose_arguments(schema))
        assert whole(constraint, '{"a": [null]}')
        assert not whole(constraint, "[]")


def test_an_object_that_must_be_full_has_no_way_on(compiled: Compile) -> None:
    """All members are required, and no other is admitted: after the last comes the brace."""
    schema = {"properties": {"a": {}, "b": {}}, "required": ["a", "b"], "additionalProperties": False}
    constraint = compiled(loose_arguments(schema)).begun('{"b":1,"a":2')
    assert constraint is not None
    assert constraint.begun(",") is None
    assert constraint.begun("}") is not None


NAMES = ("a", "-i", 'we"ird', "pa th", "é/[x]", "new\nline", "#", "$ref", "x.y*")


@given(
    names=st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=7),
    data=st.data(),
    open_=st.booleans(),
)
def test_loose_arguments_are_whole_when_all_that_is_required_has_come(
    vocabulary: Vocabulary, names: list[str], data: st.DataObject, *, open_: bool
) -> None:
    required = data.draw(st.lists(st.sampled_from(names), unique=True))
    said = data.draw(st.permutations(names).flatmap(lambda all_: st.integers(0, len(all_)).map(lambda n: all_[:n])))
    schema = {"properties": {name: {"type": "integer"} for name in names}, "required": required}
    grammar = loose_arguments(schema if open_ else {**schema, "additionalProperties": False})
    assert vocabulary.fault(grammar) == ""
    text = json.dumps(dict(zip(said, itertools.count())), ensure_ascii=False)
    missing = set(required) - set(said)
    insisted = len(required) <= 5
    assert whole(vocabulary.compile(grammar), text) == (not (missing and insisted))


def test_a_schema_is_closed_unless_it_says_what_else_may_come() -> None:
    assert closed(LS) == {**LS, "additionalProperties": False}
    for schema in (True, {"type": "object"}, {**LS, "additionalProperties": True}, {**LS, "allOf": []}):
        assert closed(schema) == schema


# -- arguments between tags ----------------------------------------------------------------------------------------

QWEN = spelling_of("<function= <parameter=", renders_tools=True)
GLM = spelling_of("<arg_key> <arg_value>", renders_tools=True)
FIND = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "depth": {"type": "integer"}, "kind": {"enum": ["file", "folder"]}},
    "required": ["path"],
    "additionalProperties": False,
}


def in_qwens_tags(*parameters: tuple[str, str]) -> str:
    tags = "".join(f"\n<parameter={name}>\n{value}\n</parameter>" for name, value in parameters)
    return f"{tags}\n</function>"


def in_glms_tags(*parameters: tuple[str, str]) -> str:
    tags = "".join(f"\n<arg_key>{name}</arg_key>\n<arg_value>{value}</arg_value>" for name, value in parameters)
    return f"{tags}\n</tool_call>"


@pytest.mark.parametrize(("spelling", "written"), [(QWEN, in_qwens_tags), (GLM, in_glms_tags)], ids=["qwen", "glm"])
def test_parameters_between_tags_are_text_or_json_as_their_schema_says(
    compiled: Compile, spelling: Spelling, written: Callable[..., str]
) -> None:
    assert spelling.tags is not None
    constraint = compiled(tagged_arguments(FIND, spelling.tags, lambda _: None))
    for parameters in (
        [("path", '/ of <b>all</b>\n"things"')],
        [("depth", "3"), ("path", "42"), ("kind", "file")],
    ):
        assert whole(constraint, f"{written(*parameters)}and anything"), parameters
    for parameters in ([], [("depth", "3")], [("path", "/"), ("depth", "three")], [("path", "/"), ("kind", "device")]):
        assert not whole(constraint, written(*parameters)), parameters
    assert not whole(constraint, written(("path", "/"), ("way", "/")))


def test_names_that_a_schema_does_not_refuse_are_admitted_between_tags(compiled: Compile) -> None:
    assert QWEN.tags is not None
    constraint = compiled(tagged_arguments(LS, QWEN.tags, lambda _: None))
    assert whole(constraint, in_qwens_tags(("way", "x"), ("path", "/")))
    assert whole(compiled(tagged_arguments({"type": "object"}, QWEN.tags, lambda _: None)), in_qwens_tags(("a", "b")))


def test_calls_between_tags_are_whole_and_of_tools_that_there_are(compiled: Compile) -> None:
    tools = (CallableTool(name="find", schema=FIND), CallableTool(name="ls", schema=LS))
    call = f"<tool_call>\n<function=find>{in_qwens_tags(('path', '/'))}\n</tool_call>"
    constraint = compiled(answer(tools=tools, spelling=QWEN))
    assert whole(constraint, call)
    assert whole(constraint, f"{call}\n{call.replace('find', 'ls')}")
    for text in (call[:-1], call.replace("find", "rm"), call.replace("path", "way"), "Done."):
        assert not whole(constraint, text), text
    glm = f"<tool_call>find{in_glms_tags(('path', '/'))}"
    assert whole(compiled(answer(tools=tools, spelling=GLM)), glm)


def test_a_header_before_tags_is_a_name(compiled: Compile) -> None:
    qwen = compiled(headers(["find", "ls"], QWEN, lambda _: None))
    assert whole(qwen, "find>")
    assert qwen.begun("fi>") is None
    glm = compiled(headers(["find", "ls"], GLM, lambda _: None))
    assert whole(glm, "ls\n<arg_key>pa")
    assert whole(glm, "ls</tool_call>")
    assert glm.begun("lsx") is None


def test_a_closing_tag_that_is_a_token_ends_a_text() -> None:
    assert GLM.tags is not None
    assert "m_0_v: /(?s:.*)/ <[5]>" in tagged_arguments(LS, GLM.tags, {"</arg_value>": 5}.get)

"""Arguments less what the tool's schema forbids: goldens, and for any object, schema and cut the definition itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import GenerationRequest, JsonObject, ModelId, RequestId, Tool, ToolCallArguments, ToolCallId
from pensieve_gguf.parsers import JsonStream, make_parser
from pensieve_gguf.parsers._members import MemberFilter

BASH: JsonObject = {
    "type": "object",
    "properties": {
        "command": {"type": "string"},
        "timeout": {"type": "number"},
        "note": {"type": ["string", "null"]},
        "any": {},
    },
    "required": ["command"],
    "additionalProperties": False,
}
OPEN: JsonObject = {key: value for key, value in BASH.items() if key != "additionalProperties"}


def filtered(pieces: Iterable[str], schema: JsonObject = BASH) -> list[str]:
    members = MemberFilter(schema)
    return [members.feed(piece) for piece in pieces]


GOLDENS: dict[str, tuple[str, str]] = {
    # Observed: Qwen2.5-Coder-1.5B with Claude Code.
    "null for an optional": ('{"command":"ls","timeout":null}', '{"command":"ls"}'),
    "members of other tools": ('{"command":"ls","allow_large":true,"output":"x"}', '{"command":"ls"}'),
    # Which of them goes.
    "nothing": ("{}", "{}"),
    "the first": ('{"timeout":null,"command":"ls"}', '{"command":"ls"}'),
    "the middle": ('{"command":"ls","x":1,"timeout":5}', '{"command":"ls","timeout":5}'),
    "the last": ('{"timeout":5,"command":"ls","x":1}', '{"timeout":5,"command":"ls"}'),
    "all": ('{"timeout":null,"x":{"a":[1,"}"]}}', "{}"),
    "all but one": ('{"x":1,"y":2,"command":"ls","z":3,"timeout":null}', '{"command":"ls"}'),
    # What stays.
    "null for what is required": ('{"command":null}', '{"command":null}'),
    "null where it is admitted": ('{"note":null,"any":null}', '{"note":null,"any":null}'),
    "the word null": ('{"timeout":"null"}', '{"timeout":"null"}'),
    "nested members": ('{"any":{"x":null,"y":[null,{"z":null}]}}', '{"any":{"x":null,"y":[null,{"z":null}]}}'),
    "other values": ('{"timeout":-1.5e3,"any":[],"note":false}', '{"timeout":-1.5e3,"any":[],"note":false}'),
    "an escaped quote before a brace": ('{"command":"\\"}","x":1}', '{"command":"\\"}"}'),
    "what looks like JSON": (
        '{"command":"{\\"x\\":null}],\\\\","any":"}"}',
        '{"command":"{\\"x\\":null}],\\\\","any":"}"}',
    ),
    # Names are compared as they are meant and repeated as they are written.
    "escaped name": ('{"\\u0063ommand":"ls","\\"":1,"\\\\":2}', '{"\\u0063ommand":"ls"}'),
    "unknown name with marks of JSON": ('{"a\\":{,}":1,"command":"ls"}', '{"command":"ls"}'),
    "repeated names": (
        '{"timeout":1,"timeout":null,"x":1,"timeout":2,"x":2}',
        '{"timeout":1,"timeout":2}',
    ),
    "white space": (
        '\n{ "x" : [ 1 , 2 ] , "timeout" :\tnull , "command" : "ls -la" , "any" : { "a" : 1 } , "y" : 1 }\n',
        '{"command": "ls -la" ,"any": { "a" : 1 } }',
    ),
}


@pytest.mark.parametrize(("text", "expected"), GOLDENS.values(), ids=GOLDENS.keys())
def test_arguments_become_what_the_golden_says(text: str, expected: str) -> None:
    assert filtered([text]) == [expected]
    assert "".join(filtered(text)) == expected


UNFILTERED: dict[str, JsonObject] = {
    "empty": {},
    "no properties": {"type": "object", "additionalProperties": False},
    "nonsense for properties": {"type": "object", "properties": ["command"], "additionalProperties": False},
    "no object": {**BASH, "type": "string"},
    "an object, or something else": {**BASH, "type": ["object", "null"]},
}


@pytest.mark.parametrize("schema", UNFILTERED.values(), ids=UNFILTERED.keys())
def test_a_schema_without_properties_filters_nothing(schema: JsonObject) -> None:
    text = '{"command":null,"x":null,"timeout":null}'
    assert filtered([text], schema) == [text]


@pytest.mark.parametrize(
    "schema",
    [OPEN, {**BASH, "additionalProperties": {"type": "number"}}, {**BASH, "patternProperties": {"^x": {}}}],
    ids=["open", "of a type", "by pattern"],
)
def test_where_further_names_may_come_they_stay(schema: JsonObject) -> None:
    assert filtered(['{"x":1,"y":null,"timeout":null}'], schema) == ['{"x":1,"y":null}']


def test_a_tool_without_arguments_gets_none() -> None:
    schema: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}
    assert filtered(['{"x":1,"y":null}'], schema) == ["{}"]


def test_the_type_of_the_schema_may_go_without_saying() -> None:
    assert filtered(['{"timeout":null}'], {key: value for key, value in BASH.items() if key != "type"}) == ["{}"]


NULL_ADMITTED: dict[str, object] = {
    "anything": {},
    "true": True,
    "described only": {"description": "free"},
    "reference": {"$ref": "#/$defs/x"},
    "null": {"type": "null"},
    "list of types": {"type": ["string", "null"]},
    "tuple of types": {"type": ("string", "null")},
    "nullable": {"type": "string", "nullable": True},
    "enum": {"type": "string", "enum": ["a", None]},
    "const": {"const": None},
    "anyOf": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "oneOf": {"oneOf": [{"type": "string"}, {}]},
    "anyOf within anyOf": {"anyOf": [{"type": "string"}, {"anyOf": [{"type": "number"}, {"enum": [None]}]}]},
}
NULL_NOT_ADMITTED: dict[str, object] = {
    "type": {"type": "string"},
    "list of types": {"type": ["string", "number"]},
    "not nullable": {"type": "string", "nullable": False},
    "enum": {"enum": ["a", "null"]},
    "const": {"const": "a"},
    "anyOf": {"anyOf": [{"type": "string"}, {"enum": ["null"]}]},
    "oneOf": {"oneOf": [{"type": "string"}, {"oneOf": [{"type": "number"}]}]},
    "nonsense beside a type": {"type": "string", "enum": "null", "anyOf": None},
}


@pytest.mark.parametrize("value", NULL_ADMITTED.values(), ids=NULL_ADMITTED.keys())
def test_null_stays_where_the_property_admits_it(value: object) -> None:
    assert filtered(['{"a":null}'], {"properties": {"a": value}}) == ['{"a":null}']


@pytest.mark.parametrize("value", NULL_NOT_ADMITTED.values(), ids=NULL_NOT_ADMITTED.keys())
def test_null_goes_where_the_property_does_not_admit_it(value: object) -> None:
    assert filtered(['{"a":null}'], {"properties": {"a": value}}) == ["{}"]


def test_a_schema_nested_beyond_all_measure_is_read_all_the_same() -> None:
    """Schemas come from clients: their depth must not become ours."""
    schema: JsonObject = {"type": "string"}
    for _ in range(5_000):
        schema = {"anyOf": [schema]}
    assert filtered(['{"a":null}'], {"properties": {"a": schema}}) == ["{}"]


def test_values_stream_and_members_wait_only_while_in_doubt() -> None:
    pieces = [
        "{",
        '"comm',
        'and"',
        ":",
        '"l',
        "s ",
        '-l"',
        ',"timeout":',
        "1",
        "2",
        ',"timeout":',
        "n",
        "ull",
        ',"x":1}',
    ]
    assert filtered(pieces) == [
        *("{", "", "", '"command":', '"l', "s ", '-l"'),
        *("", ',"timeout":1', "2", "", "", "", "}"),
    ]


# The definition, for any object and schema.

NAMES = ("a", "b", "null", "", 'q"', "back\\", "é😀", "{,:}", "\n")
names = st.sampled_from(NAMES)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*NAMES, "null"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
members = st.lists(st.tuples(names, json_values), max_size=6)


@st.composite
def schemas(draw: st.DrawFn) -> tuple[JsonObject, frozenset[str] | None, frozenset[str]]:
    """A schema, the only names that it allows (None: all), and the names that must not be null."""
    admits = draw(st.dictionaries(names, st.booleans()))
    required = draw(st.frozensets(names))
    closed = draw(st.booleans())
    of_kind = {True: list(NULL_ADMITTED.values()), False: list(NULL_NOT_ADMITTED.values())}
    schema: JsonObject = {
        "type": "object",
        "properties": {name: draw(st.sampled_from(of_kind[admitted])) for name, admitted in admits.items()},
        "required": sorted(required),
        "additionalProperties": not closed,
    }
    never_null = frozenset(name for name, admitted in admits.items() if not admitted) - required
    return schema, frozenset(admits) if closed else None, never_null


@st.composite
def spelled(draw: st.DrawFn, pairs: Sequence[tuple[str, object]]) -> str:
    """The object of these members as JSON, in some spelling."""
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
    ascii_only = draw(st.booleans())

    def spell(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, separators=(comma, colon))

    return f"{{{comma.join(f'{spell(name)}{colon}{spell(value)}' for name, value in pairs)}}}"


def cut(data: st.DataObject, text: str) -> list[str]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]


@given(members, schemas(), st.data())
def test_exactly_the_forbidden_members_go_whatever_the_cut(
    pairs: list[tuple[str, object]],
    schema: tuple[JsonObject, frozenset[str] | None, frozenset[str]],
    data: st.DataObject,
) -> None:
    parameters, known, never_null = schema
    text = data.draw(spelled(pairs))
    result = "".join(filtered(cut(data, text), parameters))
    assert result == "".join(filtered(text, parameters)) == filtered([text], parameters)[0]
    # In pairs: order and repeated names count.
    assert json.loads(result, object_pairs_hook=tuple) == tuple(
        (name, value)
        for name, value in json.loads(text, object_pairs_hook=tuple)
        if (known is None or name in known) and not (value is None and name in never_null)
    )


@given(members, schemas())
def test_after_each_value_a_brace_would_complete_what_is_out(
    pairs: list[tuple[str, object]], schema: tuple[JsonObject, frozenset[str] | None, frozenset[str]]
) -> None:
    """Nothing waits but the member in doubt, and no comma goes out before the member that it belongs to."""
    machine = MemberFilter(schema[0])
    out = machine.feed("{")
    for position, (name, value) in enumerate(pairs):
        out += machine.feed("," * bool(position) + json.dumps(name) + ":" + json.dumps(value))
        json.loads(f"{out}}}")
    assert machine.feed("}") == "}"


@given(st.text(alphabet="{}[]\"'`:,\\u0acenul \n<t/1-", max_size=40), schemas())
def test_whatever_the_model_writes_one_object_comes_out(
    text: str, schema: tuple[JsonObject, frozenset[str] | None, frozenset[str]]
) -> None:
    stream = JsonStream()
    stream.feed(f"{{{text}")
    stream.close()
    repaired = stream.take()
    result = json.loads("".join(filtered([repaired], schema[0])))
    assert isinstance(result, dict)
    assert result.keys() <= json.loads(repaired).keys()


@given(members, st.sampled_from(list(UNFILTERED.values())))
def test_unfiltered_arguments_come_through_to_the_letter(pairs: list[tuple[str, object]], schema: JsonObject) -> None:
    text = json.dumps(dict(pairs), separators=(",", ":"))
    assert filtered([text], schema) == [text]


# In place: every way in which arguments reach the events.

CALLS: dict[str, str] = {
    "streamed": '{"name": "Bash", "arguments": {"output": "x", "command": "ls", "timeout": null}}',
    "arguments first": '{"arguments": {"command": "ls", "timeout": null, "output": "x"}, "name": "Bash"}',
    "arguments as a string": '{"name": "Bash", "arguments": "{\\"timeout\\": null, \\"command\\": \\"ls\\"}"}',
    "cut": '{"name": "Bash", "arguments": {"timeout": null, "command": "ls',
    "cut in a name": '{"name": "Bash", "arguments": {"command": "ls", "outp',
    "cut before the value": '{"name": "Bash", "arguments": {"command": "ls", "timeout": ',
    "cut in null": '{"name": "Bash", "arguments": {"command": "ls", "output": nul',
    "deepseek": '<|tool▁call▁begin|>Bash<|tool▁sep|>{"command": "ls", "timeout": null, "x": [{}]}<|tool▁call▁end|>',
    "deepseek, cut": '<|tool▁call▁begin|>Bash<|tool▁sep|>{"output": [1], "command": "ls',
    "after a call of another tool": (
        '{"name": "Glob", "arguments": {}}\n{"name": "Bash", "arguments": {"command": "ls", "pattern": "*"}}'
    ),
}
TOOLS: Mapping[str, JsonObject] = {
    "Bash": BASH,
    "Glob": {"type": "object", "properties": {"pattern": {"type": "string"}}, "additionalProperties": False},
}


def last_arguments(pieces: Iterable[str]) -> str:
    request = GenerationRequest(
        id=RequestId("r"),
        model=ModelId("m"),
        turns=(),
        tools=tuple(Tool(name=name, parameters=parameters) for name, parameters in TOOLS.items()),
        max_tokens=1,
    )
    parser = make_parser("", request, opens_thinking=False, new_call_id=lambda: ToolCallId("t"))
    events = [*itertools.chain.from_iterable(map(parser.feed, pieces)), *parser.finish()]
    groups = itertools.groupby(events, lambda event: isinstance(event, ToolCallArguments))
    arguments = [list(group) for are_arguments, group in groups if are_arguments]
    return "".join(event.fragment for event in arguments[-1] if isinstance(event, ToolCallArguments))


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS.keys())
def test_every_call_is_filtered_by_its_own_tool(text: str) -> None:
    bar = "\uff5c"
    text = text.replace("<|", f"<{bar}").replace("|>", f"{bar}>")
    assert last_arguments([text]) == last_arguments(text) == '{"command":"ls"}'

"""One order of keys for JSON that means the same."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import JsonValue, Tool
from pensieve_gguf.templates._canonical import canonical_arguments, canonical_schema, to_json, tool_definition

EDIT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "additionalProperties": False,
    "required": ["file_path", "old", "new"],
    "properties": {
        "all": {"default": False, "type": "boolean"},
        "new": {"description": "after", "type": "string"},
        "old": {"type": "string"},
        "file_path": {"type": "string"},
    },
    "type": "object",
}


def test_schemas_have_one_order_and_properties_that_of_their_required_list() -> None:
    assert to_json(canonical_schema(EDIT)) == (
        '{"type": "object", "properties": {"file_path": {"type": "string"}, "old": {"type": "string"}, '
        '"new": {"type": "string", "description": "after"}, "all": {"type": "boolean", "default": false}}, '
        '"required": ["file_path", "old", "new"], "additionalProperties": false}'
    )


def test_arguments_follow_their_schema() -> None:
    arguments = {"x": {"b": 1, "a": [{"d": 1, "c": 2}]}, "all": True, "new": "n", "old": "o", "file_path": "/"}
    assert to_json(canonical_arguments(arguments, EDIT)) == (
        '{"file_path": "/", "old": "o", "new": "n", "all": true, "x": {"a": [{"c": 2, "d": 1}], "b": 1}}'
    )


def test_arguments_within_lists_follow_the_schema_of_the_items() -> None:
    todo = {"required": ["text", "done"]}
    schema = {"properties": {"todos": {"type": "array", "items": todo}}}
    arguments = {"todos": [{"done": True, "text": "a"}, 5]}
    assert to_json(canonical_arguments(arguments, schema)) == '{"todos": [{"text": "a", "done": true}, 5]}'


def test_nonsense_in_schemas_is_kept() -> None:
    schema = {
        "properties": ["x"],
        "required": "y",
        "anyOf": [{"b": 1, "a": 2}, True],
        "$defs": {"N": {"x": 1, "type": "b"}},
    }
    assert to_json(canonical_schema(schema)) == (
        '{"properties": ["x"], "required": "y", "$defs": {"N": {"type": "b", "x": 1}}, '
        '"anyOf": [{"a": 2, "b": 1}, true]}'
    )
    assert to_json(canonical_arguments({"b": 1, "a": [1]}, schema)) == '{"a": [1], "b": 1}'


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = {"properties": {"type": {"type": "string"}, "properties": {"type": "object"}, "$schema": {}}}
    properties = canonical_schema(schema)["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["$schema", "properties", "type"]


def test_a_tool_is_defined_in_openais_form() -> None:
    assert to_json(tool_definition(Tool(name="T", description="ü", parameters={}))) == (
        '{"type": "function", "function": {"name": "T", "description": "ü", "parameters": {}}}'
    )


names = st.sampled_from(["type", "properties", "required", "items", "a", "b", "c", "anyOf", "description"])
schemas = st.recursive(
    st.booleans() | st.sampled_from(["object", "a"]) | st.lists(names, unique=True, max_size=3),
    lambda inner: st.dictionaries(names, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


def shuffled(value: JsonValue, rng: random.Random) -> JsonValue:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return [shuffled(item, rng) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(names, schemas, max_size=5), st.dictionaries(names, schemas, max_size=5), st.randoms())
def test_the_order_of_keys_never_shows(
    schema: dict[str, JsonValue], arguments: dict[str, JsonValue], rng: random.Random
) -> None:
    other, others = shuffled(schema, rng), shuffled(arguments, rng)
    assert isinstance(other, dict)
    assert isinstance(others, dict)
    assert to_json(canonical_schema(schema)) == to_json(canonical_schema(other))
    assert to_json(canonical_arguments(arguments, schema)) == to_json(canonical_arguments(others, other))
    assert json.loads(to_json(canonical_schema(schema))) == schema
    assert canonical_arguments(arguments, schema) == arguments

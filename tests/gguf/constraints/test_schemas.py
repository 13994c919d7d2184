"""Ours: what MCP servers send is mended in its place, and only there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.constraints import Vocabulary
from pensieve_gguf.constraints._grammars import document
from pensieve_gguf.constraints._schemas import mend


@pytest.fixture(scope="session")
def sound(vocabulary: Vocabulary) -> Any:
    """The real compiler's opinion."""

    def sound(schema: Any) -> bool:
        return schema is True or (isinstance(schema, dict) and not vocabulary.fault(document(schema)))

    return sound


def member(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"good": {"type": "integer"}, "bad": schema}, "required": ["bad"]}


@pytest.mark.parametrize(
    ("schema", "mended", "dropped"),
    [
        ({"type": "string", "format": "phone-of-aunt"}, {"type": "string"}, ["format"]),
        ({"type": "string", "pattern": "(?=x)y", "maxLength": 3}, {"type": "string", "maxLength": 3}, ["pattern"]),
        ({"type": "string", "pattern": "[unclosed"}, {"type": "string"}, ["pattern"]),
        ({"$ref": "#/definitions/nowhere"}, {}, ["$ref"]),
        ({"$ref": "https://example.org/schema.json"}, {}, ["$ref"]),
        ({"type": "objekt"}, {}, ["type"]),
        ({"type": "array", "uniqueItems": True}, {"type": "array"}, ["uniqueItems"]),
        ({"type": "object", "required": "a"}, {"type": "object"}, ["required"]),
        ({"type": "string", "minLength": 5, "maxLength": 3}, {"type": "string", "minLength": 5}, ["maxLength"]),
        ({"allOf": [{"type": "string"}, {"type": "number"}]}, {"allOf": [{"type": "string"}, {}]}, ["allOf/1/type"]),
        ({"items": [{"format": "odd"}], "type": "array"}, {"items": [{}], "type": "array"}, ["items/0/format"]),
        ({"items": {"format": "odd"}, "type": "array"}, {"items": {}, "type": "array"}, ["items/format"]),
        ({"anyOf": []}, {}, ["anyOf"]),
        ({"not": {"type": "string"}, "type": "string"}, {"type": "string"}, ["not"]),
        (None, True, [""]),
        ("string", True, [""]),
        (False, True, [""]),
        ({"properties": {"a/b~": None}}, {"properties": {"a/b~": True}}, ["properties/a~1b~0"]),
    ],
)
def test_only_what_is_at_fault_is_dropped(sound: Any, schema: Any, mended: Any, dropped: list[str]) -> None:
    result = mend(member(schema), sound)
    assert result.schema == member(mended)
    assert result.dropped == tuple(f"/properties/bad/{path}".rstrip("/") for path in dropped)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "minimum": 3, "exclusiveMinimum": True},  # draft 4
        {"type": "string", "nullable": True},  # OpenAPI 3.0
        {"enum": [f"choice number {number}" for number in range(2_000)]},
        {"oneOf": [{"type": "object", "properties": {"a": {}}}, {"type": "object", "properties": {"b": {}}}]},
        {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
    ],
)
def test_what_can_be_compiled_stays_as_it_is(sound: Any, schema: Any) -> None:
    result = mend(schema, sound)
    assert result.schema == schema
    assert result.dropped == ()


def test_a_definition_is_mended_where_it_stands_and_its_references_stay(sound: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "string", "format": "odd"}},
    }
    result = mend(schema, sound)
    assert result.dropped == ("/$defs/A/format",)
    assert result.schema == {**schema, "$defs": {"A": {"type": "string"}}}


@pytest.mark.parametrize("schema", [None, 7, [], "object"])
def test_what_is_no_schema_at_all_admits_anything(sound: Any, schema: Any) -> None:
    assert mend(schema, sound).schema is True


def test_a_schema_with_faults_without_end_is_dropped_as_a_whole() -> None:
    asked = []

    def nothing_is_sound(schema: Any) -> bool:
        asked.append(schema)
        return False

    result = mend({"properties": {str(number): {} for number in range(1_000)}, "items": {}}, nothing_is_sound)
    assert len(asked) < 1_000
    wide = {str(number): 0 for number in range(1_000)}
    assert mend(wide, nothing_is_sound).dropped == ("",)
    assert result.schema == {}


BAD = "bad"
plain = st.dictionaries(st.sampled_from(["type", "title", BAD]), st.integers(0, 1), max_size=3)
schemas = st.recursive(
    plain,
    lambda below: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), below, max_size=2),
            "$defs": st.dictionaries(st.sampled_from("cd"), below, max_size=2),
            "anyOf": st.lists(below, max_size=2),
            "items": below,
            BAD: st.integers(0, 1),
        },
    ),
    max_leaves=6,
)


@given(schemas)
def test_whatever_is_mended_is_sound_and_loses_its_faults_alone(schema: Any) -> None:
    def flawless(value: Any) -> bool:
        return f'"{BAD}"' not in json.dumps(value)

    def purged(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: purged(below) for key, below in value.items() if key != BAD}
        return [purged(below) for below in value] if isinstance(value, list) else value

    result = mend(schema, flawless)
    assert result.schema == purged(schema)
    assert len(result.dropped) == json.dumps(schema).count(f'"{BAD}"')

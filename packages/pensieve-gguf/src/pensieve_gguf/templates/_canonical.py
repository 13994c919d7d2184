"""One spelling for JSON that means the same: tool schemas, and the arguments of calls.

A prompt is found in the cache only byte by byte, and clients do not promise an order of keys. So schemas come out in
one order of keywords, and properties (whose order the model will follow when it writes a call: the old text of an
edit before the new one) as their `required` list has them, the optional ones after them by name. Arguments follow their
schema. `$schema` says nothing to a model, and goes.

Pure; knows JSON schema as far as its structure, and no templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pensieve_core import JsonObject, JsonValue, Tool

__all__ = ["canonical_arguments", "canonical_schema", "to_json", "tool_definition"]

_KEYWORDS: Final = ("type", "description", "enum", "const", "default", "properties", "required", "items")
"""In this order; further ones follow by name."""

_SCHEMA_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose values map names to schemas."""


def to_json(value: object) -> str:
    """Return JSON as Hugging Face's `tojson` spells it: what the models were trained on."""
    return json.dumps(value, ensure_ascii=False)


def tool_definition(tool: Tool) -> dict[str, JsonValue]:
    """Return the tool as templates expect it (OpenAI's form), in canonical order."""
    function: dict[str, JsonValue] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": canonical_schema(tool.parameters),
    }
    return {"type": "function", "function": function}


def canonical_schema(schema: JsonObject) -> dict[str, JsonValue]:
    """Return `schema` in canonical order, without `$schema`."""
    keywords = sorted(schema.keys() - {"$schema"}, key=_keyword_rank)
    return {keyword: _canonical_keyword(keyword, schema) for keyword in keywords}


def _keyword_rank(keyword: str) -> tuple[int, str]:
    return (_KEYWORDS.index(keyword) if keyword in _KEYWORDS else len(_KEYWORDS), keyword)


def _canonical_keyword(keyword: str, schema: JsonObject) -> JsonValue:
    value = schema[keyword]
    if keyword in _SCHEMA_MAPS and isinstance(value, Mapping):
        names = _property_order(value, schema) if keyword == "properties" else sorted(value)
        return {name: _canonical_subschema(value[name]) for name in names}
    return _canonical_subschema(value)


def _canonical_subschema(value: JsonValue) -> JsonValue:
    """Sort what may be a schema, a list of schemas, or plain JSON."""
    return _map_objects(value, canonical_schema)


def _map_objects(value: JsonValue, sort: Callable[[JsonObject], dict[str, JsonValue]]) -> JsonValue:
    if isinstance(value, Mapping):
        return sort(value)
    if isinstance(value, list | tuple):
        return [_map_objects(item, sort) for item in value]
    return value


def _property_order(names: Iterable[str], schema: JsonObject) -> list[str]:
    """Return `names`, the required ones first in the order of their list, the others by name."""
    required = schema.get("required")
    listed = required if isinstance(required, list | tuple) else []
    rank = {name: position for position, name in enumerate(listed) if isinstance(name, str)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def canonical_arguments(arguments: JsonObject, schema: JsonObject) -> dict[str, JsonValue]:
    """Return `arguments` in the order of their schema's properties."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    return {name: _canonical_value(arguments[name], known.get(name)) for name in _property_order(arguments, schema)}


def _canonical_value(value: JsonValue, schema: JsonValue) -> JsonValue:
    below = schema if isinstance(schema, Mapping) else {}
    items = below.get("items")
    if isinstance(value, list | tuple):
        return [_canonical_value(item, items) for item in value]
    return canonical_arguments(value, below) if isinstance(value, Mapping) else value

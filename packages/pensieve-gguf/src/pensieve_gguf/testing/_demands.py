"""JSON schemas whose values are all short, so that even the smallest model comes to their end.

Knows JSON Schema and nothing of engines. Above: the test-suite, and the benchmark that asks for many more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from pensieve_core import JsonObject, Tool

__all__ = ["bounded_schema", "bounded_tool"]

_WORDS: Final = ("red", "green", "blue", "north", "south", "a b", "é", "x_1", 'qu"ote')
_NAMES: Final = ("name", "size", "kind", "on", "list", "note", "the key", "naïve")
_PATTERNS: Final = ("^[a-z]{1,6}$", "^\\d{3}-\\d{2}$", "^(ab|cd){1,3}$", "^[A-F0-9]{4}$", "^[^\\s]{1,5}$")
_DEEPEST: Final = 3


def bounded_schema(random: Random, depth: int = 0) -> JsonObject:
    """Return a schema: objects, arrays, enums, numbers, patterns, constants, choices, references, nested."""
    kinds = {**_SCALARS, **(_NESTED if depth < _DEEPEST else {})}
    if depth == 0:
        return _with_definition(random, _object(random, 1))
    return kinds[random.choice(sorted(kinds))](random, depth + 1)


def bounded_tool(random: Random, name: str, *, depth: int = 2) -> Tool:
    """Return a tool whose arguments are short; at depth 3 none is nested."""
    return Tool(
        name=name,
        description=f"Does what {name} is for.",
        parameters=_with_definition(random, _object(random, depth)),
        strict=random.random() < 1 / 2,
    )


def _with_definition(random: Random, schema: JsonObject) -> JsonObject:
    return {**schema, "$defs": {"word": {"enum": random.sample(_WORDS, 3)}}}


def _string(random: Random, _depth: int) -> JsonObject:
    least = random.randrange(3)
    return {"type": "string", "minLength": least, "maxLength": least + random.randrange(1, 12)}


def _pattern(random: Random, _depth: int) -> JsonObject:
    return {"type": "string", "pattern": random.choice(_PATTERNS)}


def _integer(random: Random, _depth: int) -> JsonObject:
    least = random.randrange(-50, 50)
    return {"type": "integer", "minimum": least, "maximum": least + random.randrange(200)}


def _number(random: Random, _depth: int) -> JsonObject:
    return {"type": "number", "minimum": random.randrange(10), "maximum": random.randrange(20, 90), "multipleOf": 0.25}


def _enum(random: Random, _depth: int) -> JsonObject:
    return {"enum": random.sample([*_WORDS, 1, 2.5, None, True, [1], {"a": 1}], random.randrange(1, 6))}


def _const(random: Random, _depth: int) -> JsonObject:
    return {"const": random.choice([*_WORDS, 7, False, None, [1, "x"], {"a": {"b": []}}])}


def _plain(random: Random, _depth: int) -> JsonObject:
    return {"type": random.choice(["boolean", "null", ["boolean", "null"]])}


def _reference(_random: Random, _depth: int) -> JsonObject:
    return {"$ref": "#/$defs/word"}


def _array(random: Random, depth: int) -> JsonObject:
    least = random.randrange(2)
    return {
        "type": "array",
        "items": bounded_schema(random, depth),
        "minItems": least,
        "maxItems": least + random.randrange(3),
    }


def _object(random: Random, depth: int) -> JsonObject:
    names = random.sample(_NAMES, random.randrange(1, 5))
    return {
        "type": "object",
        "properties": {name: bounded_schema(random, depth) for name in names},
        "required": [name for name in names if random.random() < 2 / 3],
        "additionalProperties": False,
    }


def _choice(random: Random, depth: int) -> JsonObject:
    return {"anyOf": [bounded_schema(random, depth) for _ in range(random.randrange(1, 4))]}


_Kinds = Mapping[str, Callable[[Random, int], JsonObject]]
_SCALARS: Final[_Kinds] = {
    "const": _const,
    "enum": _enum,
    "integer": _integer,
    "number": _number,
    "pattern": _pattern,
    "plain": _plain,
    "reference": _reference,
    "string": _string,
}
_NESTED: Final[_Kinds] = {"array": _array, "choice": _choice, "object": _object}

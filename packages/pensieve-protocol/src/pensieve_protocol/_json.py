"""JSON, read strictly and written compactly.

Reading refuses what other parsers would quietly change: invalid UTF-8, NaN, integers beyond 64 bits, names that
come twice, deep nesting. Knows nothing of requests: `_parse` turns `JsonError` into a 400.
"""

from __future__ import annotations

import functools
import json
import re

import attrs
import orjson

from pensieve_core import JsonValue

__all__ = ["MAX_DEPTH", "JsonError", "dump_json", "parse_json"]

MAX_DEPTH = 64
"""Nested arrays and objects. Claude Code's deepest tool schemas come to 15; orjson itself stops at 1024."""

# RFC 8259 section 7: a string is quotes around anything but a bare quote or backslash. A colon after it makes it a
# member's name. Only applied to documents that orjson has accepted.
_STRING_OR_NAME = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"([ \t\r\n]*:)?')


class JsonError(ValueError):
    """Not JSON, or not JSON that can be taken at its word. The message is for the client."""


def parse_json(document: bytes) -> JsonValue:
    """Return the value of `document`.

    Raises:
        JsonError: it is malformed, nested deeper than `MAX_DEPTH`, or cannot be represented without loss.
    """
    try:
        value: JsonValue = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise JsonError(f"the body is not valid JSON: {error}") from None
    names, has_huge_number = _measure(value)
    if has_huge_number or names != _count_names(document):
        _explain(document)
    return value


def dump_json(value: object) -> bytes:
    """Return `value` as compact JSON: attrs values as objects, tuples as arrays, None as null."""
    return orjson.dumps(value, default=_as_object)


def _measure(value: JsonValue) -> tuple[int, bool]:
    """Return how many names the objects of `value` have, and whether a number is too big for an exact float.

    Walks level by level, so that depth costs no recursion.
    """
    names, has_huge_number = 0, False
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                names += len(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, float) and abs(item) >= 2**63:
                has_huge_number = True
        if not below:
            return names, has_huge_number
        level = below
    raise JsonError(f"the body is nested more than {MAX_DEPTH} levels deep")


def _count_names(document: bytes) -> int:
    return sum(bool(colon) for colon in _STRING_OR_NAME.findall(document))


def _explain(document: bytes) -> None:
    """Parse again, slowly, with the standard library, which shows names and numbers as they were written."""
    json.loads(document, object_pairs_hook=_refuse_repeated_name, parse_int=_refuse_huge_integer)


def _refuse_repeated_name(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise JsonError(f"the body has an object with two members named {name!r}")
        members[name] = value
    return members


def _refuse_huge_integer(digits: str) -> int:
    if len(digits) > len(str(-(2**63))) or not -(2**63) <= int(digits) < 2**64:
        raise JsonError(f"the body has an integer that does not fit into 64 bits: {digits[:40]}")
    return int(digits)


def _as_object(value: attrs.AttrsInstance) -> dict[str, object]:
    """Return one level of an attrs value; orjson asks again for what is in it."""
    return {name: getattr(value, name) for name in _field_names(type(value))}


@functools.cache
def _field_names(value_type: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(value_type))

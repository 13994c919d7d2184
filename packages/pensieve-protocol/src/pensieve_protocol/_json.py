"""JSON, read strictly and written compactly.

Reading refuses what other parsers would quietly change: invalid UTF-8, NaN, integers beyond 64 bits, names that
come twice, deep nesting. Knows nothing of requests: `_parse` turns `JsonError` into a 400.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs
import orjson

from pensieve_core import JsonValue

__all__ = ["MAX_DEPTH", "RARE", "JsonError", "dump_json", "parse_json"]

MAX_DEPTH = 64
"""Nested arrays and objects; far more than tool schemas and inputs have. orjson itself stops at 1024."""

RARE: Final[Mapping[str, bool]] = MappingProxyType({"rare": True})
"""Metadata of a field that is left out of the JSON when it is None; others are null."""

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
"""What orjson reads as an integer. Beyond, it makes a float of it and loses digits."""


class JsonError(ValueError):
    """Not JSON, or not JSON that can be taken at its word. The message is for the client."""


def parse_json(document: bytes) -> JsonValue:
    """Return the value of `document`.

    It is parsed twice: by orjson, which is strict about syntax and safe against depth; then by the standard library,
    which shows names and numbers as they were written. Both together take 6 ms a megabyte.

    Raises:
        JsonError: it is malformed, nested deeper than `MAX_DEPTH`, or cannot be represented without loss.
    """
    try:
        _check_depth(orjson.loads(document))
    except orjson.JSONDecodeError as error:
        raise JsonError(f"the body is not valid JSON: {error}") from None
    value: JsonValue = json.loads(document, object_pairs_hook=_read_object, parse_int=_read_integer)
    return value


def dump_json(value: object) -> bytes:
    """Return `value` as compact JSON: attrs values as objects, tuples as arrays, None as null unless it is `RARE`."""
    return orjson.dumps(value, default=_as_object)


def _check_depth(value: JsonValue) -> None:
    """Walk level by level, so that depth costs no recursion."""
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH + 1):
        arrays = [item for item in level if isinstance(item, list)]
        objects = [item.values() for item in level if isinstance(item, dict)]
        if not arrays and not objects:
            return
        level = [item for container in (*arrays, *objects) for item in container]
    raise JsonError(f"the body is nested more than {MAX_DEPTH} levels deep")


def _read_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"the body has an object with two members named {repeated[:80]!r}")
    return members


def _read_integer(digits: str) -> int:
    # Never more than 309 digits: orjson has refused what exceeds a float.
    if not _SMALLEST <= int(digits) <= _LARGEST:
        raise JsonError(f"the body has an integer that does not fit into 64 bits: {digits[:40]}")
    return int(digits)


def _as_object(value: attrs.AttrsInstance) -> dict[str, object]:
    """Return one level of an attrs value; orjson asks again for what is in it."""
    members = ((name, getattr(value, name), is_rare) for name, is_rare in _fields(type(value)))
    return {name: member for name, member, is_rare in members if not (is_rare and member is None)}


@functools.cache
def _fields(value_type: type[attrs.AttrsInstance]) -> tuple[tuple[str, bool], ...]:
    return tuple((field.name, RARE.items() <= field.metadata.items()) for field in attrs.fields(value_type))

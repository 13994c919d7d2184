"""The value of a parameter as dialects with tags write it: bare text where a string is wanted, JSON elsewhere.

    TaggedValue({"type": "string"})    feed("ls -l")  →  '"ls -l'    finish()  →  '"'
    TaggedValue({"type": "integer"})   feed("3")      →  ''          finish()  →  '3'

The tool's schema says which. Text streams; what may be JSON waits until it is whole. Where both are admitted, JSON of
an admitted type other than a string is JSON, and all else is text. Pure; knows JSON schema as far as its types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from pensieve_core import JsonValue
from pensieve_gguf.parsers._json_stream import JsonStream

__all__ = ["TaggedValue", "types_admitted"]

_ALL_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})
_TEXT: Final = frozenset({"string"})
_TYPES: Final[Mapping[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}
_PYTHON_WORDS: Final = {"True": "true", "False": "false", "None": "null"}
"""Templates print booleans through Python, and so models write them."""


class TaggedValue:
    """One value, piece by piece.

    Args:
        schema: Of the parameter; anything at all, for it comes from a client.
    """

    def __init__(self, schema: JsonValue) -> None:
        self._types = types_admitted(schema)
        self._streams = self._types == _TEXT
        self._held = '"' if self._streams else ""

    def feed(self, text: str) -> str:
        """Take more of the value; return the JSON that is certain."""
        if not self._streams:
            self._held += text
            return ""
        begun, self._held = self._held, ""
        return begun + _escaped(text)

    def finish(self) -> str:
        """Return the rest of the JSON."""
        if self._streams:
            return f'{self._held}"'
        return self._typed(self._held.strip()) or f'"{_escaped(self._held)}"'

    def _typed(self, text: str) -> str:
        """Return `text` as JSON of an admitted type other than a string; empty when it is none."""
        text = _PYTHON_WORDS.get(text, text)
        if "string" in self._types:
            return text if _type_of(text) in self._types - _TEXT else ""
        return _repaired(text)


def types_admitted(schema: JsonValue) -> frozenset[str]:
    """Return the JSON types that `schema` admits, as far as a look at it tells."""
    match schema:
        case {"type": str(name)}:
            return _numbers(frozenset({name}))
        case {"type": list() | tuple() as names}:
            return _numbers(frozenset(name for name in names if isinstance(name, str)))
        case {"enum": list() | tuple() as values} if values:
            return frozenset(_TYPES.get(type(value), "string") for value in values)
        case {"const": value}:
            return frozenset({_TYPES.get(type(value), "string")})
        case {"anyOf": list() | tuple() as branches} | {"oneOf": list() | tuple() as branches} if branches:
            return frozenset[str]().union(*map(types_admitted, branches))
        case _:
            return _ALL_TYPES


def _numbers(types: frozenset[str]) -> frozenset[str]:
    return types | {"integer"} if "number" in types else types


def _type_of(text: str) -> str:
    try:
        return _TYPES[type(orjson.loads(text))]
    except orjson.JSONDecodeError:
        return ""


def _repaired(text: str) -> str:
    """Return sound JSON for what is nearly that, where no string is wanted; empty when it is not even nearly."""
    stream = JsonStream()
    stream.feed(text)
    stream.close()
    repaired = stream.take()
    return repaired if repaired and not stream.unread.strip() else ""


def _escaped(text: str) -> str:
    """Return `text` as it stands between the quotes of a JSON string. Lone surrogates cannot come: it was UTF-8."""
    return orjson.dumps(text).decode()[1:-1]

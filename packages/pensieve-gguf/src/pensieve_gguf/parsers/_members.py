"""Leaves out of a call's arguments what the tool's schema forbids and the model plainly did not mean.

    MemberFilter(schema).feed('{"command":"ls","timeout":null,"output":"x"}')  →  '{"command":"ls"}'

Observed with Claude Code and Qwen2.5-Coder-1.5B: small models fill in optional arguments with null, and borrow
arguments of other tools. Claude Code answers each with an InputValidationError, and the model repeats itself.

Two kinds of members go, at the top level only:

- one that is not among the schema's `properties`, when it says `"additionalProperties": false`;
- one that is null, when its property is optional and its schema does not admit null.

In doubt a member stays: the client knows better. All else passes as it is, white space around top-level names aside.

Between a call reader, whose `JsonStream` makes the text sound, and the events. A member is held back only until it is
known to stay: at its name, or at the first character of its value where null would have to go. A call that is held to
its tool's schema (`pensieve_gguf.constraints`) has nothing to leave out; one that the parser recognised too late, or
whose schema had to be loosened, may.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, cast

import attrs
import orjson

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import WHITE_SPACE

__all__ = ["MemberFilter"]

_PLAIN: Final = re.compile(r'[^"\\]+')
"""String contents that need no thought; taken at once, for speed alone."""
_DEEPER: Final = {"{": 1, "[": 1, "}": -1, "]": -1}
_SAY_WHAT_IS_ADMITTED: Final = frozenset({"type", "enum", "const", "anyOf", "oneOf"})


class _At(enum.Enum):
    MEMBER = enum.auto()
    """Before a name, the object's own brackets, or a comma."""
    NAME = enum.auto()
    NAME_ESCAPE = enum.auto()
    COLON = enum.auto()
    DOUBT = enum.auto()
    """Before a value that must not be null."""
    VALUE = enum.auto()
    STRING = enum.auto()
    STRING_ESCAPE = enum.auto()


class MemberFilter:
    """Sound JSON of one object in, cut anywhere; the same less the members to leave out.

    A name that comes twice is judged twice; what stays of it is repeated as it was.

    Args:
        schema: The tool's `parameters`. Nothing is left out when it is no object schema with `properties`.
    """

    def __init__(self, schema: JsonObject) -> None:
        self._rules = _rules(schema)
        self._at = _At.MEMBER
        self._depth = 0
        """Of brackets within the current value."""
        self._held = ""
        """The current member's name as it was written, until it is known to stay."""
        self._stays = False
        self._comma = ""
        """What separates the next member from those that stayed."""
        self._out: list[str] = []

    def feed(self, text: str) -> str:
        """Take more text; return what is certain to stay."""
        position = 0
        while position < len(text):
            plain = _PLAIN.match(text, position) if self._at is _At.STRING else None
            if plain is not None:
                self._pass(plain.group())
                position = plain.end()
            else:
                self._STEPS[self._at](self, text[position])
                position += 1
        passed = "".join(self._out)
        self._out.clear()
        return passed

    def _pass(self, text: str) -> None:
        if self._stays:
            self._out.append(text)

    def _member(self, char: str) -> None:
        """Commas are dropped here, and written anew before each member that stays."""
        if char == '"':
            self._held = char
            self._at = _At.NAME
        elif char in "{}":
            self._out.append(char)

    def _name(self, char: str) -> None:
        self._held += char
        if char == "\\":
            self._at = _At.NAME_ESCAPE
        elif char == '"':
            self._at = _At.COLON

    def _name_escape(self, char: str) -> None:
        self._held += char
        self._at = _At.NAME

    def _colon(self, char: str) -> None:
        """The name is complete; only white space may come before the colon."""
        if char != ":":
            return
        name = cast("str", orjson.loads(self._held))
        if name in self._rules.never_null:
            self._at = _At.DOUBT
        else:
            self._decide(stays=self._rules.allow(name))

    def _doubt(self, char: str) -> None:
        if char not in WHITE_SPACE:
            # Of all JSON values, null alone begins with this letter.
            self._decide(stays=char != "n")
            self._value(char)

    def _decide(self, *, stays: bool) -> None:
        self._stays = stays
        self._at = _At.VALUE
        if stays:
            self._out.append(f"{self._comma}{self._held}:")
            self._comma = ","

    def _value(self, char: str) -> None:
        if not self._depth and char in ",}":
            self._at = _At.MEMBER
            self._member(char)
            return
        self._depth += _DEEPER.get(char, 0)
        self._pass(char)
        if char == '"':
            self._at = _At.STRING

    def _string(self, char: str) -> None:
        """Take a quote or a backslash."""
        self._pass(char)
        self._at = _At.VALUE if char == '"' else _At.STRING_ESCAPE

    def _string_escape(self, char: str) -> None:
        self._pass(char)
        self._at = _At.STRING

    _STEPS: ClassVar[Mapping[_At, Callable[[MemberFilter, str], None]]] = {
        _At.MEMBER: _member,
        _At.NAME: _name,
        _At.NAME_ESCAPE: _name_escape,
        _At.COLON: _colon,
        _At.DOUBT: _doubt,
        _At.VALUE: _value,
        _At.STRING: _string,
        _At.STRING_ESCAPE: _string_escape,
    }


# What a schema says. Schemas come from clients and their MCP servers; nonsense in them must not stop a call.


@attrs.frozen(kw_only=True)
class _Rules:
    known: frozenset[str] | None = None
    """The only names that may come; None when any may."""
    never_null: frozenset[str] = frozenset()

    def allow(self, name: str) -> bool:
        return self.known is None or name in self.known


def _rules(schema: JsonObject) -> _Rules:
    properties = schema.get("properties")
    if schema.get("type", "object") != "object" or not isinstance(properties, Mapping):
        return _Rules()
    # Names that match a pattern are no additional ones.
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    required = _items(schema.get("required"))
    return _Rules(
        known=frozenset(properties) if closed else None,
        never_null=frozenset(
            name for name, value in properties.items() if name not in required and not _admits_null(value)
        ),
    )


def _admits_null(schema: object) -> bool:
    """Tell whether null may stand where `schema` rules, as far as a look at it tells."""
    branches = [schema]
    while branches:
        branch = branches.pop()
        if not isinstance(branch, Mapping) or _names_null(branch):
            return True
        branches += [*_items(branch.get("anyOf")), *_items(branch.get("oneOf"))]
    return False


def _names_null(schema: JsonObject) -> bool:
    """Tell whether null is admitted in so many words, or by the lack of any (a bare `$ref`, say)."""
    return (
        _SAY_WHAT_IS_ADMITTED.isdisjoint(schema)
        or schema.get("type") == "null"
        or "null" in _items(schema.get("type"))
        or None in _items(schema.get("enum"))
        or schema.get("const", "") is None
        or schema.get("nullable") is True  # OpenAPI 3.0
    )


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
